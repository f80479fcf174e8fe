"""A number a text: how a column of numbers is distinguished from one of classes, and its unit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from filbert.errors import DataError, Place, Problem, Refusal, counted, shown
from filbert.records import Example, FloatArray
from filbert.tasks.labels import refuse_other_heads
from filbert.tasks.long_texts import HEAD_TAIL, saved_way
from filbert.tasks.task import Claim, Json, Reading

NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")
GROUPED = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\s*")  # 1,200: twelve hundred, or one and a fifth
FEW = 20  # different whole numbers: classes, for all that anybody can tell
STRATA = 10  # ranges of which a split keeps the share
FEWEST = 4  # texts, to fit anything


@dataclass(frozen=True)
class Settings:
    """The unit of the numbers: mean and spread of the training texts', how far off an answer is, their range."""

    mean: float
    spread: float
    half_width: float = 0.0
    """Nine of ten answers are no further off, fitted on the validation texts (Vovk et al. 2005); 0: not fitted."""
    low: float = float("-inf")
    high: float = float("inf")
    long: str = HEAD_TAIL
    """How a text beyond the longest length is read (long_texts.py)."""


def claim(cells: Sequence[str], names: Sequence[str] = ()) -> Claim | None:
    """Claim columns of fractions; ask about whole numbers, where there are many different ones.

    >>> claim(["0.5", "2.25", "1.75"]).sure, claim(["1", "0", "1"]), claim([str(n) for n in range(50)]).sure
    (True, None, False)
    """
    seen = [cell for cell in cells if cell.strip()]
    if not seen or not all(NUMBER.fullmatch(cell) for cell in seen):
        return None
    different = {number(cell) for cell in seen}
    fractions = sum("." in cell or "," in cell for cell in seen)
    if fractions > len(seen) / 2 and len(different) > 2:
        return Claim(True, f"{len(different):,} different numbers, most of them fractions")
    if len(different) > FEW:
        return Claim(False, f"{len(different):,} different whole numbers, which may be classes or amounts")
    return None


def number(cell: str) -> float:
    """Return the number that a cell holds; a comma may be its decimal point. Raises ValueError.

    >>> number("3,5"), number(" 1e3 ")
    (3.5, 1000.0)
    """
    if not NUMBER.fullmatch(cell):
        raise ValueError(cell)
    return float(cell.strip().replace(",", "."))


def read(cells: Sequence[str], merges: Mapping[str, str]) -> Reading:
    """Say that the cells are read as numbers; DataError where most are none, or commas may be points or thousands.

    >>> read(["0.5"], {}).parse("2.25")
    2.25
    """
    seen = [cell for cell in cells if cell.strip()]
    wrong = next((cell for cell in seen if not NUMBER.fullmatch(cell)), None)
    if wrong is not None and sum(NUMBER.fullmatch(cell) is None for cell in seen) > len(seen) / 2:
        raise DataError(
            [
                Problem(
                    Place("the target column"),
                    "score",
                    f"holds no numbers, but {shown(wrong)}",
                    "choose another --label",
                )
            ]
        )
    commas = [cell for cell in seen if "," in cell]
    if commas and all(GROUPED.fullmatch(cell) for cell in commas):
        whole = commas[0].strip().replace(",", "")
        what = f"holds {shown(commas[0])}, which may be {whole} or {number(commas[0]):g}"
        todo = "write the numbers without commas"
        raise DataError([Problem(Place("the target column"), "score", what, todo)])

    def parse(cell: str) -> float:
        try:
            return number(merges.get(cell, cell))
        except ValueError:
            what = "is empty" if not cell.strip() else f"is {shown(cell)}, no number"
            raise Refusal(what, "write a number such as 3.5, or drop the row") from None

    different = len({number(cell) for cell in seen if NUMBER.fullmatch(cell)})
    return Reading(
        parse, f"task: a number a text, {different:,} different ones seen; --task single-label reads classes"
    )


def target_of(value: Any) -> float:
    """Return a Python value as a number; Refusal for what is none.

    >>> target_of(3)
    3.0
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise Refusal(f"is {shown(value)}, no number", "give a number for each text") from None
    if not np.isfinite(found):
        raise Refusal(f"is {shown(value)}", "give a finite number for each text")
    return found


def strata(examples: Sequence[Example]) -> list[int]:
    """Return which tenth of the numbers each text's is in."""
    numbers_N = np.array([example.target for example in examples], dtype=np.float64)
    edges = np.quantile(numbers_N, np.arange(1, STRATA) / STRATA)
    return [int(part) for part in np.searchsorted(edges, numbers_N, side="right")]


def classes(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Return for each text whether its number is in the lower or the upper half."""
    middle = float(np.median([example.target for example in examples])) if examples else 0.0
    return [(f"above {middle:g}" if example.target > middle else f"up to {middle:g}",) for example in examples]


def settle(train: Sequence[Example], held_out: Mapping[str, Sequence[Example]], name: str) -> Settings:
    """Return mean and spread; DataError where there are fewer than four texts, or all have one number."""
    numbers_N = np.array([example.target for example in train], dtype=np.float64)
    if len(numbers_N) < FEWEST:
        wrong = f"there are {counted(len(numbers_N), 'text')} with a number"
        raise DataError([Problem(Place(name), "score", wrong, f"give at least {FEWEST}, better hundreds")])
    spread = float(numbers_N.std())
    if spread == 0:
        wrong = f"all texts have the number {numbers_N[0]:g}"
        raise DataError([Problem(Place(name), "score", wrong, "check that --label is the right column")])
    return Settings(float(numbers_N.mean()), spread, low=float(numbers_N.min()), high=float(numbers_N.max()))


def reopen(info: Json, config: Json) -> Settings:
    """Return the unit of a saved model; of other people's, whose outputs are numbers already. ValueError otherwise."""
    refuse_other_heads(config)
    labels = config.get("id2label") or {"0": "score"}
    if not isinstance(labels, dict):
        raise ValueError(f"config.json id2label — is {shown(labels)} — must number the outputs from 0")
    problem, outputs = config.get("problem_type"), len(labels)
    if problem not in (None, "regression") or outputs != 1:
        raise ValueError(f"config.json problem_type — is {shown(problem)} with {outputs} labels — not a number a text")
    settings = info.get("settings")
    if settings is None:
        return Settings(0.0, 1.0)
    long = saved_way(settings)
    try:
        return Settings(**{key: float(value) for key, value in settings.items() if key != "long"}, long=long)
    except (TypeError, ValueError):
        raise ValueError(f"filbert.json settings — are {shown(settings)} — restore the file") from None


def saved(settings: Settings) -> Json:
    """Return what `transformers` reads: one number a text."""
    return {"problem_type": "regression", "id2label": {"0": "score"}, "label2id": {"score": 0}}


def unknown(examples: Sequence[Example], settings: Settings) -> list[Problem]:
    """Return nothing: a model can give any number."""
    return []


def described(splits: Mapping[str, Sequence[Example]], settings: Settings) -> tuple[list[str], Json]:
    """Return a line on the range of the numbers, and their histogram for the report."""
    numbers = {split: np.array([example.target for example in examples]) for split, examples in splits.items()}
    edges = np.histogram_bin_edges(numbers["train"], bins=20)
    counts = {split: np.histogram(found, edges)[0].tolist() for split, found in numbers.items()}
    line = f"numbers: {settings.low:g} to {settings.high:g}, mean {settings.mean:.4g} ± {settings.spread:.3g}"
    return [line], {"numbers": {"edges": edges.tolist(), "counts": counts}}


def balanced(train: Sequence[Example], settings: Settings, how: str) -> tuple[Settings, FloatArray | None]:
    """Return the settings as they are: `BALANCE` refuses it before."""
    return settings, None
