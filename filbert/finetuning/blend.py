"""Blend BERT with the linear baseline where it helps: weights fitted on validation texts, gains seen by cross-fitting.

    BERT's outputs + the linear model's on validation → weights → kept, if the cross-fitted loss falls 2 % → one model

Where the linear model alone loses less than both together, BERT's weight is 0: the better of the two is handed over.
The linear model never saw the validation texts, and BERT did not learn from them; weights are fitted on nine tenths of
them and judged on the other tenth, ten times. To ask for an interval above 0 costs accuracy where validation texts are
few (docs/log.md). Temperature, thresholds and ranges are then fitted anew on these answers.
The weights of the network stay as they are, calibrated for BERT alone, as `transformers` opens it.

Shapes: N texts, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from filbert.finetuning.job import TaskJob
from filbert.finetuning.prepare import Run
from filbert.finetuning.train import calibrated
from filbert.linear.blend import Blend, cross_fitted, fit_weights
from filbert.linear.texts import TextLinear
from filbert.metrics.intervals import interval, resampled_means
from filbert.progress import Watcher
from filbert.records import FloatArray, Prediction
from filbert.tasks.framing import only_window
from filbert.tasks.task import Baseline, Calibrated, Fold, Json, Outputs

FEWEST = 50  # validation texts
WORTH = 0.02  # share of the loss that a linear part has to save: with it a model is larger and slower


@dataclass(frozen=True)
class Completed:
    """What a trained model is completed with: its calibration, the baseline beside it, and a blend of both."""

    calibrated: Calibrated
    """Of what the model answers."""
    alone: Calibrated
    """Of BERT alone; the same one without a blend."""
    baseline: Baseline | None
    blend: Blend | None
    facts: Json
    """On the blend, for the report."""


def completed(
    run: Run, job: TaskJob, *, compare: bool = False, blend: bool, balance: str = "none", watch: Watcher
) -> Completed:
    """Calibrate a trained network, fit the baseline, and blend both where that helps; `run` gets the settings.

    A network whose training weighed the classes (`balance`) is not blended: the linear model's does not.

    >>> completed(run, job, blend=True, watch=Silent()).facts  # doctest: +SKIP
    {'kept': True, 'texts': 500, 'loss': 0.61, 'gain': {'value': 0.08, 'low': 0.04, 'high': 0.12}}
    """
    raw = job.outputs()
    alone = calibrated(job, raw)
    found = Completed(alone, alone, None, None, {"kept": False})
    if blend and not job.task.BLEND and not job.model.head.weighed:
        found = replace(found, facts={"kept": False, "texts": len(job.examples), "balance": balance})
    blend = blend and not job.task.BLEND and balance == "none" and len(job.examples) >= FEWEST
    blend = blend and not job.model.head.weighed  # an explanation of averaged windows knows no linear part
    if compare or blend:
        watch.say(f"fitting the baseline on the same {job.task.EXAMPLE}s")
        parts = run.data.splits.parts
        asked = {split: part for split, part in parts.items() if split != "train"}
        found = replace(found, baseline=job.task.baseline(parts["train"], asked, alone.settings))
    if blend and found.baseline is not None and found.baseline.fitted is not None:
        found = _blended(found, found.baseline, job, raw)
    run.data = replace(run.data, settings=found.calibrated.settings)
    if line := job.task.rule(run.data.settings)[0]:
        watch.say(line)
    return found


def _blended(found: Completed, baseline: Baseline, job: TaskJob, raw: Outputs) -> Completed:
    """Fit the weights of BERT and the linear model, and keep them where the loss of the validation texts falls."""
    examples, losses_of = job.examples, baseline.losses
    assert baseline.fitted is not None
    assert losses_of is not None

    def losses(outputs_NO: FloatArray, rows: Sequence[int]) -> FloatArray:
        return losses_of(outputs_NO[:, None], [examples[i] for i in rows])

    fitted = baseline.fitted.model
    linear = TextLinear(fitted.vectorizer, fitted.linear.scaled(1.0))  # a class without texts is unlikely, no more
    parts, every = (only_window(raw), linear.outputs([each.inputs for each in examples])), range(len(examples))
    crossed = cross_fitted(losses, *parts)
    ours_N, linear_N, both_N = (losses(x, every) for x in (crossed.alone_NO, crossed.linear_NO, crossed.both_NO))
    only = bool(linear_N.mean() < both_N.mean())  # BERT knows next to nothing: its part would be noise
    less_N = ours_N - (linear_N if only else both_N)
    facts: Json = {
        "kept": False,
        "texts": len(examples),
        "loss": float(ours_N.mean()),
        "gain": interval(float(less_N.mean()), resampled_means(less_N), texts=len(less_N)),
        "linear_alone": only,
    }
    if facts["gain"]["value"] < WORTH * facts["loss"]:
        return replace(found, facts=facts)
    chosen_NO = crossed.linear_NO if only else crossed.both_NO
    both = job.task.calibrate(chosen_NO[:, None], examples, job.settings, job.windows)
    weight_P = fit_weights(losses, parts[1:] if only else parts, every)
    blend = _folded(linear, np.append(0.0, weight_P) if only else weight_P, found.alone.fold, both.fold)
    return replace(found, calibrated=both, blend=blend, facts={**facts, "kept": True})


def _folded(linear: TextLinear, weight_P: FloatArray, alone: Fold, both: Fold) -> Blend:
    """Return the blend on top of outputs that have BERT's own divisor and shift in them already.

    (weight × raw + linear) / divisor + shift, where raw = (BERT - its shift) × its divisor.
    """
    bert, other = weight_P.tolist()
    factor = bert * alone.divisor / both.divisor
    model = linear.linear.scaled(other / both.divisor, both.shift - factor * alone.shift)
    return Blend(TextLinear(linear.vectorizer, model), float(factor))


def facts_of(run: Run, ready: Completed, alone: Mapping[str, Sequence[Prediction]]) -> Json:
    """Return what the report says of a blend; `alone` is what BERT alone answers to each split.

    >>> facts_of(run, completed(run, job, blend=False, watch=watch), {})  # doctest: +SKIP
    {'kept': False}
    """
    if ready.blend is None:
        return ready.facts
    task, parts, settings = run.data.task, run.data.splits.parts, ready.alone.settings
    scores = {split: task.score(parts[split], found, settings) for split, found in alone.items()}
    metrics = [metric.key for metric in task.page().metrics]
    told = {split: {key: each[key] for key in (*metrics, "n") if key in each} for split, each in scores.items()}
    return {**ready.facts, "bert": {"settings": asdict(settings), "calibration": ready.alone.facts, "scores": told}}
