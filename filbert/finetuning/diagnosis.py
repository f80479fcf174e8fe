"""Why a run failed, where it did: one sentence, and the options of the next command.

    all [UNK] · learning rate too high · targets that the texts do not tell · one answer for all · nothing learned

A model is held against one that does not read: it gives every text the same answer, the best there is
(`task.constant`). Where classes are uneven each class counts the same.

Shapes: N texts.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filbert.errors import shown
from filbert.finetuning.prepare import SAMPLED, Run
from filbert.metrics.intervals import interval, resampled_means
from filbert.records import Example, FloatArray, Prediction
from filbert.report.figures import share_of
from filbert.tasks.task import Json, Task
from filbert.training.optimizer import default_learning_rate

FEWEST = 30  # texts on which a model is said to be no better than chance
SMALL = 0.2  # of the error of the constant answer: a gain of less is none, where its interval holds 0
NEAR = 0.97  # of the loss of the constant answer: from here on nothing was learned
RISEN = 1.3  # times its lowest mean: from here on the loss rose
PARTS = 8  # of the training loss that are compared
UNREAD = 0.5  # share of [UNK] from which on the texts are not read
STEPS = 100  # optimizer steps: fewer may be too few

CURES = {
    "--base": "start from a trained base",
    "--learning-rate": "take the usual learning rate",
    "--epochs": "train longer",
}

Changes = dict[str, str | None]  # option → its new value, or None: left out


@dataclass(frozen=True)
class Diagnosis:
    """What went wrong, in one sentence, and what to run next."""

    kind: str
    """unknown-pieces, learning-rate, unrelated, one-answer or not-learned."""
    sentence: str
    changes: Changes
    command: str = ""
    """Another command than `fit` with these changes."""

    def json(self, command: str) -> Json:
        """Return it as the report stores it; `command` is that of the run, empty from Python."""
        following = self.command or again(command, self.changes)
        return {"kind": self.kind, "sentence": self.sentence, "command": following}


def again(command: str, changes: Mapping[str, str | None]) -> str:
    """Return a command with options changed, or what to change where there is none.

    >>> again("filbert fit a.csv --epochs 1 -o runs/a", {"--epochs": "4"})
    'filbert fit a.csv -o runs/a --epochs 4 --overwrite'
    >>> again("", {"--epochs": "4"})
    'fit again with --epochs 4'
    """
    added = [word for name, value in changes.items() if value is not None for word in (name, value)]
    if not command:
        return "fit again with " + (" ".join(added) or f"out {', '.join(changes)}")
    kept, words = list[str](), iter(shlex.split(command))
    for word in words:
        if word in changes:
            next(words, None)
        elif word != "--overwrite" and word.split("=", 1)[0] not in changes:
            kept.append(word)
    return shlex.join([*kept, *added, "--overwrite"])


def gain(
    task: Task, train: Sequence[Example], examples: Sequence[Example], predictions: Sequence[Prediction], settings: Any
) -> Json | None:
    """Return by how much the error is below that of the best constant answer, with its interval; `of`: that error.

    None where the task has no constant answer.
    """
    same, _ = task.constant(train, len(examples), settings)
    if not same:
        return None
    weight_N = _weights(task, examples)
    blind_N, ours_N = (task.errors(examples, each, settings)[1] * weight_N for each in (same, predictions))
    less_N = blind_N - ours_N
    return {
        **interval(float(less_N.mean()), resampled_means(less_N), texts=len(less_N)),
        "of": float(blind_N.mean()),
        "n": len(examples),
    }


def _weights(task: Task, examples: Sequence[Example]) -> FloatArray:
    """Return weights of mean 1 by which each class counts the same; of several labels a text, or none, its stratum.

    Most texts may have no label: a model that finds the rare ones and is wrong on a few others has learned something.
    """
    classes = task.classes(examples)
    keys = [each[0] for each in classes] if all(len(each) == 1 for each in classes) else [*task.strata(examples)]
    counts = Counter(keys)
    return np.array([len(examples) / len(counts) / counts[key] for key in keys])


def diagnose(run: Run, report: Json, predictions: Sequence[Prediction], losses: Sequence[float]) -> Diagnosis | None:
    """Return what went wrong in a run, or None; the cause before the symptom.

    `predictions` are those for the texts that the report's main scores are of, `losses` the training loss of each step.
    """
    chance = run.data.task.constant(run.data.splits.train, 1, run.data.settings)[1]
    if run.data.soft is not None:
        chance = None  # a student's loss is one of probabilities, at a temperature
    usual = default_learning_rate(
        run.encoder_config.hidden, random_start=run.base.folder is None, optimizer=run.config.optimizer
    )
    ours, theirs = (report["over_constant"].get(name) for name in ("model", "baseline"))
    blind = ours is not None and _none(ours)
    if (share := _unknown(run)) >= UNREAD:
        return Diagnosis(
            "unknown-pieces",
            f"the base's vocabulary has no pieces for {share_of(share, 1)} of the training texts: the model does not "
            "read them. Take a base that knows their script, or learn a vocabulary from the texts (--base small)",
            {"--base": "filbert-mini" if run.base.name != "filbert-mini" else "small"},
        )
    if rose(losses, chance):
        return Diagnosis(
            "learning-rate",
            f"the training loss rose to {max(_means(losses)[1:]):.3g}{_beside(chance)}: the learning rate of "
            f"{run.rate:.2g} is too high",
            {"--learning-rate": f"{min(usual, run.rate / 10):.1g}"},
        )
    if not blind or ours is None:
        return None
    n, best = ours["n"], _answer(run)
    if theirs is not None and _none(theirs):
        kind = "the linear model" if report["baseline"].get("linear", True) else "the baseline"
        return Diagnosis(
            "unrelated",
            f"neither BERT nor {kind} does better on {n:,} texts than {best}: the targets do not follow from the "
            "texts. Look for a wrong column, shuffled rows, or labels of something else",
            {},
            f"filbert doctor {shlex.quote(report['data']['source'])}",
        )
    changes = _cure(run, report, usual)
    cure = CURES[next(iter(changes))]
    if len({tuple(run.data.task.tally(each)) for each in predictions}) == 1 and run.data.task.tally(predictions[0]):
        said = shown(", ".join(run.data.task.tally(predictions[0])) or "nothing", 40)
        return Diagnosis(
            "one-answer", f"the model answers {said} to all {n:,} texts: it did not learn; {cure}", changes
        )
    if chance is not None and _means(losses)[-1] >= NEAR * chance:
        at = f"the training loss stayed at {_means(losses)[-1]:.3g}{_beside(chance)}"
        return Diagnosis("not-learned", f"{at}: nothing was learned; {cure}", changes)
    return Diagnosis("not-learned", f"the model does no better on {n:,} texts than {best}; {cure}", changes)


def _beside(chance: float | None) -> str:
    return f", and {chance:.3g} is that of not reading the texts" if chance is not None else ""


def rose(losses: Sequence[float], chance: float | None) -> bool:
    """Tell whether the training loss rose: its end is far above its lowest part, or above not reading at all.

    >>> rose([0.7, 0.5, 0.4, 0.4, 0.5, 0.9, 1.4, 1.9], 0.69), rose([0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.3, 0.2], 0.69)
    (True, False)
    """
    means = _means(losses)
    if len(losses) < PARTS or not all(map(math.isfinite, means)):
        return False
    limit = RISEN * min(means) if chance is None else max(RISEN * min(means), 1.1 * chance)
    return means[-1] > limit or (chance is not None and sum(means[1:]) > 2 * chance * len(means[1:]))


def _means(losses: Sequence[float]) -> list[float]:
    """Return the mean loss of each eighth of a run."""
    return [float(np.mean(part)) for part in np.array_split(np.asarray(losses), PARTS) if len(part)] or [math.nan]


def _none(found: Mapping[str, Any]) -> bool:
    return bool(found["n"] >= FEWEST and found["low"] <= 0 and found["value"] < SMALL * found["of"])


def _unknown(run: Run) -> float:
    """Return the share of [UNK] in a sample of the training texts."""
    texts = run.encodings["train"][:SAMPLED]
    ids = np.concatenate([part.ids for each in texts for part in each] or [np.empty(0, np.int32)])
    return float((ids == run.tokenizer.unk).mean()) if len(ids) else 0.0


def _answer(run: Run) -> str:
    """Return what a model says that does not read, as a noun phrase."""
    (same,), _ = run.data.task.constant(run.data.splits.train, 1, run.data.settings)
    answer = run.data.task.show(same, run.data.settings).answer
    return f"the same answer to every text ({shown(answer, 40)})"


def _cure(run: Run, report: Json, usual: float) -> Changes:
    """Return the option that most likely helps a model that learned nothing, though something can be learned."""
    if not usual / 3 <= run.rate <= usual * 3:
        return {"--learning-rate": None}
    epochs = report["training"]["config"]["epochs"]
    if report["training"]["steps"] < STEPS:
        more = math.ceil(epochs * min(10, max(3, STEPS / max(report["training"]["steps"], 1))))
        return {"--epochs": f"{more}"}
    if run.base.folder is None:
        return {"--base": "minilm"}
    return {"--epochs": f"{math.ceil(3 * epochs)}"}
