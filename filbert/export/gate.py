"""Whether an exported model answers as the model does: both score the same held-out texts.

The bars are those of a release: fp32 differs by rounding alone; int8 may move a number people read (a probability, a
number in the range of the training texts) by so much, and an answer in one of 500 texts.

Shapes: N texts, K numbers shown for each.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from filbert.errors import ConfigError
from filbert.inference.engine import Engine
from filbert.inference.stored import answers
from filbert.records import Example, Features
from filbert.tasks.task import Json, Outputs

ENOUGH = 500  # texts, from which one other answer is within the bar of int8


@dataclass(frozen=True)
class Bars:
    """The most by which an exported model may differ."""

    change: float
    """Of a number people read, on a scale of 0 to 1."""
    change_99: float
    """In 99 % of the texts."""
    changed: float
    """Share of the texts that are answered otherwise."""
    figure: float
    """By which a figure of the task may be lower, of 1."""
    ece: float
    """By which the calibration error may be higher."""


EXACT = Bars(1e-5, 1e-5, 0.0, 0.0, 1e-4)
INT8 = Bars(0.05, 0.02, 0.002, 0.003, 0.005)


@dataclass(frozen=True)
class Side:
    """What the model, or its export, gave for the held-out texts."""

    scores: Json
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class Measured:
    """Both beside each other."""

    texts: int
    before: Side
    after: Side
    change: float
    change_99: float
    changed: float
    bars: Bars
    figures: Sequence[tuple[str, str, bool]] = ()
    """Key, name and whether it is a share, of each figure that both have."""

    @property
    def missed(self) -> list[str]:
        """A phrase for each bar that is missed."""
        return _missed(self)

    def told(self) -> Json:
        """Return the numbers, for filbert.json and --json."""
        sides = {"before": self.before, "after": self.after}
        return {
            "texts": self.texts,
            "largest_change": self.change,
            "change_99": self.change_99,
            "agreement": 1 - self.changed,
            **{
                name: {
                    **{key: figure(side.scores, key) for key, _, _ in self.figures},
                    "texts_per_second": round(self.texts / max(side.seconds, 1e-9), 1),
                    "megabytes": round(side.megabytes, 1),
                }
                for name, side in sides.items()
            },
        }


def measure(
    engines: tuple[Engine, Engine],
    examples: Sequence[Example],
    sizes: tuple[int, int],
    bars: Bars,
    done: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Score examples with the model and its export; `sizes` are the bytes of both.

    Figures are left out where the examples have no targets.
    """
    task, settings = engines[0].task, engines[0].settings
    windows = engines[0].features([each.inputs for each in examples])
    labelled = all(each.target is not None for each in examples)
    sides, numbers, given = [], [], []
    for place, (engine, size) in enumerate(zip(engines, sizes, strict=True)):
        outputs, seconds = _timed(engine, windows, partial(_told, done, place, len(windows)))
        predictions = task.decode(outputs, settings, windows)
        scores = task.score(examples, predictions, settings) if labelled else {}
        sides.append(Side(scores, seconds, size / 1e6))
        numbers.append(np.asarray(task.sureness(outputs, settings, windows)[0], dtype=np.float64))
        given.append(answers(engine, predictions))
    change_N = np.abs(numbers[0] - numbers[1]).max(axis=1)
    known = [(each.key, each.name, each.percent) for each in task.page().metrics if each.key in sides[0].scores]
    if "ece" in sides[0].scores:
        known.append(("ece", "calibration error", True))
    return Measured(
        texts=len(examples),
        before=sides[0],
        after=sides[1],
        change=float(change_N.max()),
        change_99=float(np.quantile(change_N, 0.99)),
        changed=float(np.mean([one != two for one, two in zip(*given, strict=True)])),
        bars=bars,
        figures=known,
    )


def _told(done: Callable[[int, int], None], place: int, texts: int, scored: int) -> None:
    done(place * texts + scored, 2 * texts)


def _timed(engine: Engine, windows: Sequence[Sequence[Features]], done: Callable[[int], None]) -> tuple[Outputs, float]:
    """Return the outputs, and the seconds they took; the first call of an engine, which is slower, does not count."""
    engine.outputs(windows[:1])
    began = time.perf_counter()
    return engine.outputs(windows, done), time.perf_counter() - began


def figure(scores: Json, key: str) -> float:
    """Return a figure of scores, which is a number or {value, low, high}.

    >>> figure({"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}, "accuracy")
    0.5
    """
    found: Any = scores[key]
    return float(found["value"] if isinstance(found, dict) else found)


def _missed(found: Measured) -> list[str]:
    bars, missed = found.bars, []
    if not found.change <= bars.change:
        missed.append(f"a number changes by {found.change:.2g}, at most {bars.change:g}")
    if not found.change_99 <= bars.change_99:
        missed.append(
            f"in 1 % of the texts a number changes by {found.change_99:.2g} or more, at most {bars.change_99:g}"
        )
    if not found.changed <= bars.changed:
        count = round(found.changed * found.texts)
        missed.append(f"{count:,} of {found.texts:,} answers change, at most {100 * bars.changed:g} %")
    for key, name, share in found.figures:
        before, after = figure(found.before.scores, key), figure(found.after.scores, key)
        if key == "ece" and not after - before <= bars.ece:
            missed.append(
                f"the calibration error rises by {100 * (after - before):.2g} points, at most {100 * bars.ece:g}"
            )
        elif key != "ece" and share and not before - after <= bars.figure:
            missed.append(f"{name} falls by {100 * (before - after):.2g} points, at most {100 * bars.figure:g}")
    return missed


def todo(found: Measured, format_: str, *, int8: bool) -> str:
    """Return what to try where a bar is missed."""
    if not int8:
        return f"export to another format; if that fails as well, report it with the version of {format_}"
    one = found.changed and found.texts < ENOUGH and found.change <= found.bars.change
    more = f"measure on more texts (one answer in {found.texts:,} is too much): --texts FILE; or " if one else ""
    return f"{more}export without --int8" + (", or with --format openvino --int8" if format_ == "onnx" else "")


def check_texts(examples: Sequence[Example], *, int8: bool) -> None:
    """Raise ConfigError where there is nothing to measure on, or int8 would be measured without targets."""
    if not examples or (int8 and any(each.target is None for each in examples)):
        what = "int8 is measured on labelled texts" if int8 else "an export is measured on texts"
        raise ConfigError(f"{what}, and those of the run are not at hand — give held-out ones: --texts FILE")
