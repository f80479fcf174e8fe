"""From labelled texts to a finished run folder: everything `filbert fit` and the estimators do, in order.

    data set → base (→ adapt) → prepare → train → calibrate → baseline → blend → save → score what was saved → report

The model that is scored is the one that was written and opened again, so the report speaks of what people will use.
What a target is, and what a score, is the task's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from filbert.bases.find import Base, find_base
from filbert.config import TrainConfig
from filbert.errors import ConfigError, TrainingError
from filbert.files import write_json
from filbert.finetuning.adapt import ADAPT_SHARE, adapted
from filbert.finetuning.blend import Completed, completed, facts_of
from filbert.finetuning.cascade import add_cascade_to, texts_of
from filbert.finetuning.closer import look_closer
from filbert.finetuning.corrections import write_suspects
from filbert.finetuning.dataset import Dataset
from filbert.finetuning.diagnosis import gain
from filbert.finetuning.facts import run_facts
from filbert.finetuning.few_shot import by_pairs, pooled
from filbert.finetuning.folds import SUSPECTS, CrossValidated, cross_validate
from filbert.finetuning.job import outputs_of
from filbert.finetuning.ladder import Adapt, climb
from filbert.finetuning.prepare import Run, prepare, warn_unreadable
from filbert.finetuning.refuse import check
from filbert.finetuning.train import Result
from filbert.folder.claim import claim, delete_scratch, locked, refuse_taken
from filbert.folder.save import add_facts, save_network
from filbert.folder.seen import save_seen
from filbert.inference import int8_fallback
from filbert.inference.blended import blended
from filbert.inference.engine import Engine, load
from filbert.inference.slices import check_columns
from filbert.inference.stored import answers, stored
from filbert.model.device import best_device
from filbert.owned import SCRATCH
from filbert.progress import Silent, Watcher
from filbert.records import IntArray, Prediction
from filbert.report import write_report
from filbert.tasks.long_texts import HEAD_TAIL
from filbert.tasks.task import Baseline, Json
from filbert.text.tokenizer import Tokenizer
from filbert.training.tracking import check_trackers, track_scores
from filbert.version import versions

AGREEMENT = 1e-4  # most an output may differ between the model in memory and the folder opened again
COMPARED = 64  # validation texts, for that

Predictions = Mapping[str, Sequence[Prediction]]  # by split


@dataclass(frozen=True)
class Fitted:
    """A finished run: its folder and what report.json says."""

    folder: Path
    report: Json


def fit(
    data: Dataset,
    out: Path,
    *,
    name: str = "texts",
    source: str = "memory",
    base: str | None = None,
    config: TrainConfig | None = None,
    device: str | None = None,
    overwrite: bool = False,
    track: Sequence[str] = (),
    compare: bool = True,
    blend: bool = True,
    adapt: bool = False,
    unlabelled: Sequence[str | Path] = (),
    cascade: float | None = None,
    abstain: float | None = None,
    unknown: float | None = None,
    slices: Sequence[str] = (),
    folds: int | None = None,
    language: str = "en",
    command: str = "",
    watch: Watcher | None = None,
) -> Fitted:
    """Fine-tune a model on a data set and leave a finished run folder at `out`.

    An unfinished run of the same data and settings in `out` is resumed. `compare` fits the linear baseline too, and
    `blend` adds it to BERT where that helps. With `adapt` the base first reads the training texts as masked language
    modelling (Sun et al. 2019). With `cascade` a linear model answers the texts it is sure of in BERT's place, at the
    cost of so many points of accuracy at most. `unlabelled` are sources of more texts, for one or both: the base reads
    them, and the linear model learns what BERT answers to them; texts of the validation and test splits are left out.
    With `abstain`, a share of wrong answers that is allowed, the model leaves texts unanswered that it is unsure of;
    with `unknown`, a share of texts of known classes, those that lie farther from all of them than the rest. `slices`
    are columns by which the report tells errors. With `folds` the recipe is first cross-validated; what its models
    doubt is in `suspects.csv`. `track` adds logs: tensorboard, mlflow. `language` is that of the report: en or zh.
    Raises DataError, ConfigError, ModelError or TrainingError; what is in `out` is not replaced without `overwrite`.
    """
    watch, splits = watch or Silent(), data.splits
    config, device = config or TrainConfig(), best_device(device)
    check(data, config, cascade, unlabelled, adapt=adapt, folds=folds, abstain=abstain, unknown=unknown)
    check_trackers(track)
    check_columns(slices, [*splits.parts.values()][-1], source)
    refuse_taken(out, overwrite=overwrite, inputs=(source, base, *unlabelled))
    with locked(out):
        claim(out, overwrite=overwrite)
        more = [] if cascade is None else texts_of(unlabelled, splits.held_out, watch)
        told: Json = {"adapt": adapt, "unlabelled": unlabelled, "folds": folds, "blend": blend, "watch": watch}
        first = _first(data, _base(base, data, device, watch), out, config, device, **told)
        data = pooled(data, first.config, kept=cascade is not None or bool(unknown))
        run, model = prepare(data, first.base, first.config, device, watch)
        further = None if adapt or folds else _adapting(data, first.base, unlabelled, out, device=device, watch=watch)
        run, result = climb(run, model, out, adapt=further, track=track, watch=watch)
        compare, blend = compare and not data.splits.fold_of, blend and not data.splits.fold_of  # they saw all texts
        ready = completed(run, result.job, compare=compare, blend=blend, balance=result.balance["balance"], watch=watch)
        _save(run, result, out, name, ready, watch=watch)
        engine = load(out, device=device)
        _check_saved(run, result, engine, out)
        known, alone = _predictions(run, engine, ready, result, watch)
        report = {
            "task": data.task.NAME,
            "name": name,
            **run_facts(run, result, source=source, config=first.config, command=command),
            "adaptation": first.adaptation or result.facts.get("adaptation"),
            "calibration": ready.calibrated.facts,
            **_scores(run, known, ready.baseline if compare else None),
            "blend": facts_of(run, ready, alone),
        }
        _measure_int8(out, run, known)
        if cascade is not None:
            report["cascade"] = add_cascade_to(engine, out, run, cascade, known=known, unlabelled=more, watch=watch)
        told = {"abstain": abstain, "unknown": unknown, "cascade": cascade is not None, "columns": slices}
        report |= look_closer(out, run, known, report, **told, watch=watch)
        if first.folded is not None:
            report |= first.folded.facts
            write_suspects(out / SUSPECTS, first.folded.suspects, pairs=len(splits.train[0].inputs) > 1)
        write_json(out / "report.json", report | ({"language": language} if language != "en" else {}))
        write_report(out, data.task.page())
        track_scores(track, out / SCRATCH, report["scores"])
        delete_scratch(out)
    return Fitted(out, report)


def _base(name: str | None, data: Dataset, device: str, watch: Watcher) -> Base:
    """Find the base, and say why it is that one, and what it cannot read."""
    sample = [text for example in data.splits.train[:200] for text in example.inputs]
    chosen = find_base(name, texts_sample=sample, device=device)
    watch.say(f"base {chosen.name} — {chosen.reason}")
    if chosen.folder is not None:
        warn_unreadable(Tokenizer.from_folder(chosen.folder), data.splits.train, watch)
    return chosen


@dataclass(frozen=True)
class _First:
    """What was done before training: the base and the time that are left for it, and what is to be reported."""

    base: Base
    config: TrainConfig
    adaptation: Json | None = None
    folded: CrossValidated | None = None


def _first(
    data: Dataset,
    base: Base,
    out: Path,
    config: TrainConfig,
    device: str,
    *,
    adapt: bool,
    unlabelled: Sequence[str | Path],
    folds: int | None,
    blend: bool,
    watch: Watcher,
) -> _First:
    """Adapt the base and cross-validate, where that was asked for."""
    adaptation, folded, config = None, None, by_pairs(data, base, config, watch)
    if adapt:
        base, adaptation = _adapting(data, base, unlabelled, out, device=device, watch=watch)(config)
        if config.minutes is not None:
            config = replace(config, minutes=config.minutes * (1 - ADAPT_SHARE))
    if folds is not None:
        if config.minutes is not None:
            config = replace(config, minutes=config.minutes / (folds + 1))
        one = replace(config, ensemble=1)
        folded = cross_validate(data, base, one, device, out, count=folds, blend=blend, watch=watch)
    return _First(base, config, adaptation, folded)


def _classes(data: Dataset) -> IntArray:
    """Return the number of each training text's stratum, for the linear probe."""
    keys = [str(key) for key in data.task.strata(data.splits.train)]
    return np.unique(keys, return_inverse=True)[1].astype(np.int32)


def _adapting(
    data: Dataset, base: Base, unlabelled: Sequence[str | Path], out: Path, *, device: str, watch: Watcher
) -> Adapt:
    """Return what adapts the base to the texts, with the options it is given."""
    places = base, data.splits, unlabelled, out / SCRATCH
    return lambda config: adapted(*places, classes_N=_classes(data), config=config, device=device, watch=watch)


def _save(run: Run, result: Result, out: Path, name: str, ready: Completed, *, watch: Watcher) -> None:
    task, settings = run.data.task, run.data.settings
    info = {
        "task": task.NAME,
        "settings": asdict(settings),
        "columns": run.data.columns or {"inputs": [[] for _ in run.data.splits.train[0].inputs], "target": []},
        "name": name,
        "max_length": result.plan.max_length,
        "long_texts": settings.long if not task.LONG else "windows" if task.WINDOWS else HEAD_TAIL,
        "base": run.base.name,
        "revision": run.base.revision,
        "data_fingerprint": run.data.splits.fingerprint,
        "versions": versions(),
    }
    fields = {"architectures": [task.HUB[0]], **task.saved(settings)}
    save_network(out, result.job.model, run.tokenizer, fields, info, blend=ready.blend)
    save_seen(out, run.data.splits.parts, run.data.splits.fingerprint)
    watch.say(f"model saved in {out}")


def _check_saved(run: Run, result: Result, engine: Engine, out: Path) -> None:
    """Raise TrainingError unless the opened folder gives what the model in memory gives; store texts with answers."""
    windows = run.features["validation"][:COMPARED]
    pairs = zip(engine.bert(windows)[0], outputs_of(result.job.model, windows, run.device), strict=True)
    apart = max(float(np.abs(a - b).max()) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))
    if not apart <= AGREEMENT * max(1.0, _size(engine, windows)):
        raise TrainingError(f"the saved model differs by {apart:.1e} from the one in memory — report this bug")
    add_facts(out, {"stored": stored(engine, [each.inputs for each in run.data.splits.validation])})


def _size(engine: Engine, windows: Sequence[Sequence[Any]]) -> float:
    """Return how large the outputs are: a number in thousands may differ by more than a logit may."""
    return float(max(np.abs(part).max() for each in engine.bert(windows)[0] for part in each))


def _predictions(
    run: Run, engine: Engine, ready: Completed, result: Result, watch: Watcher
) -> tuple[Predictions, Predictions]:
    """Return what the saved model answers to the held-out texts, and, where it is a blend, what BERT alone does."""
    found, alone = {}, {}
    for split, encodings in run.encodings.items():
        if split == "train":
            continue
        if split == "validation" and result.job.unseen is not None:  # answered by models that had not seen it
            found[split] = run.data.task.decode(result.job.unseen, run.data.settings)
            continue
        windows = run.features[split]
        bert, rows = engine.bert(windows, _teller(watch, f"scoring {split} texts", len(windows)))
        found[split] = engine.decoded(blended(engine.blend, bert, windows), encodings, windows, rows=rows)
        if ready.blend is not None:
            alone[split] = run.data.task.decode(bert, ready.alone.settings, windows)
    return found, alone


def _teller(watch: Watcher, stage: str, total: int) -> Callable[[int], None]:
    return lambda done: watch.progress(stage, done, total)


def _scores(run: Run, known: Predictions, linear: Baseline | None) -> Json:
    """Score every held-out split, and the baseline on it."""
    task, settings, parts = run.data.task, run.data.settings, run.data.splits.parts
    last = list(known)[-1]
    found: Json = {
        "scores": {split: task.score(parts[split], known[split], settings) for split in known},
        "mistakes": task.mistakes(parts[last], known[last], settings),
        "over_constant": {"model": gain(task, parts["train"], parts[last], known[last], settings)},
    }
    if fresh := _without_repeated(run, known):
        found["without_repeated"] = fresh
    if linear is not None:
        theirs = gain(task, parts["train"], parts[last], linear.predictions[last], settings)
        found["over_constant"]["baseline"] = theirs
        found["baseline"] = {
            "name": linear.name,
            "seconds": round(linear.seconds, 2),
            "note": linear.note,
            "linear": linear.linear,
            **{split: task.score(parts[split], linear.predictions[split], settings) for split in known},
            "difference": {
                split: task.compare(parts[split], known[split], linear.predictions[split], settings) for split in known
            },
        }
    return found


def _without_repeated(run: Run, known: Predictions) -> Json:
    """Score the given parts once more, without the texts that stand in train, where there are some and others."""
    task, settings, parts = run.data.task, run.data.settings, run.data.splits.parts
    found: Json = {}
    for split, repeated in run.data.splits.repeated.items():
        rest = sorted({*range(len(parts[split]))} - {*repeated})
        if rest:
            found[split] = task.score([parts[split][i] for i in rest], [known[split][i] for i in rest], settings)
    return found


def _measure_int8(out: Path, run: Run, known: Predictions) -> None:
    """Find out where this model's int8 must ask bf16, and note it in the folder; do nothing where there is no int8."""
    with suppress(ConfigError):
        fast, exact = load(out, device="cpu", precision="int8"), load(out, device="cpu")
        task, settings, windows = fast.task, fast.settings, run.features["validation"]
        some = np.linspace(0, len(windows) - 1, min(len(windows), int8_fallback.MAX_TEXTS)).astype(int).tolist()
        chosen = [windows[i] for i in some]
        int8, fp32 = fast.outputs(chosen, fallback=False), exact.outputs(chosen)
        (int8_NK, margin_N), (exact_NK, _) = (task.sureness(outputs, settings, chosen) for outputs in (int8, fp32))
        given = [answers(fast, task.decode(outputs, settings, chosen)) for outputs in (int8, fp32)]
        changed_N = np.array([one != two for one, two in zip(*given, strict=True)])
        add_facts(out, {"int8_margin": int8_fallback.measured_margin(int8_NK, exact_NK, margin_N, changed_N)})
