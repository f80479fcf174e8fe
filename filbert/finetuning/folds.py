"""Cross-validation: each text is answered by a model that never saw it; then its target is doubted, or not.

    texts of train (and the validation part made of them) → K folds → K models, each on the others → one answer a text
        → scores of the recipe · doubts of each target, the lowest first: suspects.csv

Texts that a model reads alike, those on one text of several questions and those of one `--group` are in one fold. A
tenth of the other folds chooses each model's best step, as in a plain run. A finished fold is kept until the run ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filbert.bases.find import Base
from filbert.config import TrainConfig
from filbert.data.groups import Key, folds, group_key, linked, same_text
from filbert.data.splits import make_splits
from filbert.errors import ConfigError, DataError, Place, Problem
from filbert.finetuning.blend import completed
from filbert.finetuning.dataset import Dataset, last_text
from filbert.finetuning.few_shot import few_shot
from filbert.finetuning.job import outputs_of
from filbert.finetuning.prepare import prepare
from filbert.finetuning.train import job_with, train
from filbert.finetuning.trainings import keep, recalled
from filbert.inference.blended import blended
from filbert.progress import Watcher
from filbert.records import Example, Prediction
from filbert.tasks.labels import passage
from filbert.tasks.task import Doubt, Json

MOST = 20  # folds: more take long, and change little (Kohavi 1995)
SHOWN = 50  # suspects in a report
SUSPECTS = "suspects.csv"


@dataclass(frozen=True)
class CrossValidated:
    """The answers of models that never saw the texts."""

    facts: Json
    """For the report: `cross_validation`, and `suspects` where targets can be doubted."""
    suspects: Sequence[tuple[Example, Doubt]]
    """The texts of which another target is suggested, the most doubtful first."""


def check_folds(count: int | None, texts: int) -> None:
    """Raise ConfigError for a number of folds that cannot be dealt.

    >>> check_folds(5, 100)
    """
    if count is None:
        return
    if not 2 <= count <= MOST:
        raise ConfigError(f"folds is {count} — give 2 to {MOST}")
    if texts < 4 * count:
        raise ConfigError(f"folds is {count}, of {texts} texts — give at least four texts for each fold")


def pool_of(data: Dataset) -> list[Example]:
    """Return the texts that are dealt: those of train, and of a validation part that was made from it.

    >>> len(pool_of(data))  # doctest: +SKIP
    4000
    """
    return [*data.splits.train, *(data.splits.validation if data.splits.made else [])]


def dealt(data: Dataset, pool: Sequence[Example], count: int, seed: int) -> list[int]:
    """Return the fold of each text of the pool. Raises DataError where a fold would be empty.

    >>> dealt(data, pool_of(data), 5, seed=0)[:3]  # doctest: +SKIP
    [3, 0, 0]
    """
    keys: list[Key] = [same_text]
    keys += [last_text] if data.task.WINDOWS else []
    keys += [group_key(data.group)] if data.group else []
    found = folds(linked(pool, keys), data.task.strata(pool), count, seed)
    if len(set(found)) < count:
        what = f"values of {data.group}" if data.group else "different texts"
        wrong = f"there are too few {what} for {count} folds"
        raise DataError(
            [Problem(Place("train"), "--folds", wrong, f"give --folds {max(2, len(set(found)))} or more texts")]
        )
    return found


def cross_validate(
    data: Dataset,
    base: Base,
    config: TrainConfig,
    device: str,
    out: Path,
    *,
    count: int,
    blend: bool = False,
    watch: Watcher,
) -> CrossValidated:
    """Train a model for each fold, on the texts of the others, and let it answer those of its own.

    With `blend` each is blended with a linear model on the same texts where that helps, as the model of all texts is.

    Raises as training does. An interrupted one goes on with the fold that it was at.

    >>> cross_validate(data, find_base("minilm"), TrainConfig(), "cpu", out, count=5, watch=watch)  # doctest: +SKIP
    """
    pool = pool_of(data)
    fold_N = dealt(data, pool, count, config.seed)
    answers: dict[int, Prediction] = {}
    by_fold = []
    for fold in range(count):
        held = [at for at, each in enumerate(fold_N) if each == fold]
        rest = [pool[at] for at, each in enumerate(fold_N) if each != fold]
        watch.say(f"fold {fold + 1} of {count}: {len(rest):,} texts to train on, {len(held):,} to answer")
        part = _part(data, rest, [pool[at] for at in held], config.seed)
        folder = out / "checkpoints" / f"fold-{fold + 1}"
        found = _answers(part, base, config, device, folder=folder, blend=blend, watch=watch)
        answers.update(zip(held, found, strict=True))
        by_fold.append(data.task.score(part.splits.test, found, data.settings))
    predictions = [answers[at] for at in range(len(pool))]
    return _summed(data, pool, predictions, by_fold)


def _part(data: Dataset, rest: Sequence[Example], held: Sequence[Example], seed: int) -> Dataset:
    """Return the data set of a fold: the settings are those of all texts, so that each fold has the same outputs."""
    task = data.task
    whole = last_text if task.WINDOWS else None
    splits = make_splits(rest, task.strata, seed, whole=whole, group=data.group, test=held, name="a fold")
    return replace(data, splits=splits)


def _answers(
    data: Dataset, base: Base, config: TrainConfig, device: str, *, folder: Path, blend: bool, watch: Watcher
) -> list[Prediction]:
    """Train on a fold's texts, or take the weights of before an interruption, and answer those held out."""
    run, model = prepare(data, base, config, device, watch)
    known = recalled(folder, run.identity)
    if known is None:
        result = (few_shot if config.few_shot else train)(run, model, folder, track=(), watch=watch)
        job = result.job
        keep(folder, run.identity, (result.trained, result.plan), job.model.state_dict())
    else:
        job = job_with(run, known.weights(), known.plan)
    ready = completed(run, job, blend=blend, balance=config.balance, watch=watch)
    windows = run.features["test"]
    outputs = blended(ready.blend, outputs_of(job.model, windows, device), windows)
    return data.task.decode(outputs, ready.calibrated.settings, windows)


def _summed(
    data: Dataset, pool: Sequence[Example], predictions: Sequence[Prediction], by_fold: Sequence[Json]
) -> CrossValidated:
    """Return scores over all texts, each fold's, and the suspects."""
    task = data.task
    scores = task.score(pool, predictions, data.settings)
    doubts = task.doubts(pool, predictions, data.settings)
    found = suspects(pool, doubts)
    metrics = [metric for metric in task.page().metrics if all(metric.key in each for each in (scores, *by_fold))]
    facts: Json = {
        "cross_validation": {
            "folds": len(by_fold),
            "n": len(pool),
            "metrics": [(each.key, each.name, each.percent) for each in metrics],
            "scores": {each.key: scores[each.key] for each in metrics},
            "by_fold": [{metric.key: each[metric.key]["value"] for metric in metrics} for each in by_fold],
        }
    }
    if doubts:
        facts["suspects"] = {"count": len(found), "shown": [told(*each) for each in found[:SHOWN]]}
    return CrossValidated(facts, found)


def suspects(pool: Sequence[Example], doubts: Sequence[Doubt]) -> list[tuple[Example, Doubt]]:
    """Return the texts of which another target is suggested, the most doubtful first.

    >>> one, two = Doubt(0.1, "a", "b", 0.9), Doubt(0.8, "a", "a", 0.8)
    >>> [doubt.suggested for _, doubt in suspects([Example(("x",)), Example(("y",))], [two, one])]
    ['b']
    """
    both = zip(pool, doubts, strict=False)
    return sorted((each for each in both if each[1].given != each[1].suggested), key=lambda each: each[1].quality)


def told(example: Example, doubt: Doubt) -> dict[str, Any]:
    """Return a suspect as a report stores it.

    >>> told(Example(("fine",)), Doubt(0.1, "bad", "good", 0.9))["suggested"]
    'good'
    """
    return {
        **passage(example),
        "given": doubt.given,
        "suggested": doubt.suggested,
        "probability": doubt.probability,
        "quality": doubt.quality,
    }
