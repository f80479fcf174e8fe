"""From which margin int8 is believed: never where it would change an answer or move a number far."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small import needs_native

from filbert import tasks
from filbert.config import TrainConfig
from filbert.finetuning.dataset import settled
from filbert.finetuning.fit import fit
from filbert.inference.int8_fallback import DEFAULT_MARGIN, MAX_CHANGE, MIN_TEXTS, measured_margin
from filbert.records import Example

LEADS = np.linspace(0.02, 0.9, 200)
EXACT = np.stack(((1 + LEADS) / 2, (1 - LEADS) / 2), axis=1)


def lead(found_NK: np.ndarray) -> np.ndarray:
    """The margin of one label a text: how far the first class is ahead."""
    return np.abs(found_NK[:, 0] - found_NK[:, 1])


def measured(int8_NK: np.ndarray, exact_NK: np.ndarray) -> float:
    changed_N = int8_NK.argmax(axis=1) != exact_NK.argmax(axis=1)
    return measured_margin(int8_NK, exact_NK, lead(int8_NK), changed_N)


def moved(where: float, by: float) -> np.ndarray:
    """The probabilities with those moved whose lead is nearest to `where`, so that it shrinks."""
    found = EXACT.copy()
    found[np.abs(lead(EXACT) - where).argmin()] += (-by, by)
    return found


def test_a_model_that_int8_leaves_alone_needs_the_least():
    assert measured(EXACT, EXACT) == 0.1


@pytest.mark.parametrize(
    ("where", "by", "expected"),
    [
        (0.2, 0.06, 0.1),  # moved far, but where bf16 is asked anyway: int8 says 0.08
        (0.26, 0.06, 0.15),
        (0.36, 0.06, 0.25),
        (0.41, 0.06, 0.3),
        (0.53, 0.06, DEFAULT_MARGIN),
        (0.5, 0.04, 0.1),  # not far enough to count
        (0.04, 0.04, 0.1),  # another label, with a lead of 0.04 in int8
        (0.06, 0.06, 0.15),  # with one of 0.06
    ],
)
def test_the_margin_that_serves(where, by, expected):
    found = measured(moved(where, by), EXACT)
    assert found == expected
    int8, far = moved(where, by), np.abs(moved(where, by) - EXACT).max(axis=1) > MAX_CHANGE
    assert expected == DEFAULT_MARGIN or not (far & (lead(int8) >= found)).any()


@pytest.mark.parametrize(("count", "expected"), [(2, 0.1), (3, DEFAULT_MARGIN)])
def test_more_than_one_text_in_a_hundred_that_moves_a_little_counts(count, expected):
    found = EXACT.copy()
    found[150 : 150 + count] += (-0.03, 0.03)
    assert measured(found, EXACT) == expected


def test_few_texts_prove_nothing():
    assert measured(EXACT[: MIN_TEXTS - 1], EXACT[: MIN_TEXTS - 1]) == DEFAULT_MARGIN


def test_a_changed_answer_counts_though_no_number_moves_far():
    """Of several labels a text may lose one whose probability hardly moved over its threshold."""
    margin_N, changed_N = np.full(200, 0.5), np.zeros(200, dtype=bool)
    assert measured_margin(EXACT, EXACT, margin_N, changed_N) == 0.1
    margin_N[7], changed_N[7] = 0.12, True
    assert measured_margin(EXACT, EXACT, margin_N, changed_N) == 0.25


@needs_native
@pytest.mark.parametrize(("texts", "is_settled"), [(MIN_TEXTS, False), (20, True)])
def test_fit_measures_and_notes_it(tmp_path, texts, is_settled):
    words = ["good", "bad", "long", "short", "film", "plot"]
    random = np.random.default_rng(0)
    rows = [Example((" ".join(random.choice(words, 6)),), str(i % 2)) for i in range(texts + 20)]
    data = settled(tasks.named("single-label"), rows[:20], rows[20:], [], seed=0, name="memory")
    fit(data, tmp_path / "run", base="tiny", config=TrainConfig(epochs=1), device="cpu", compare=False)
    info = json.loads((tmp_path / "run" / "filbert.json").read_text("utf-8"))
    assert (info["int8_margin"] == DEFAULT_MARGIN) == is_settled
