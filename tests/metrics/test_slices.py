"""Errors on slices: quarters of numbers, values of a column, and intervals around each."""

from __future__ import annotations

import numpy as np
import pytest

from filbert.metrics.slices import by_numbers, by_values, mean_error


def test_numbers_are_cut_into_quarters() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(1, 200, 400)
    wrong_N = (lengths > 155).astype(float)
    found = by_numbers(lengths.tolist(), wrong_N)
    assert sum(each["texts"] for each in found) == 400
    assert [each["error"]["value"] for each in found][:3] == [0.0, 0.0, pytest.approx(0.0, abs=0.2)]
    assert found[-1]["error"]["value"] > 0.9
    assert found[-1]["error"]["low"] <= found[-1]["error"]["value"] <= found[-1]["error"]["high"]


def test_many_different_numbers_of_a_column_are_quarters_and_few_are_values() -> None:
    errors_N = np.zeros(60)
    assert len(by_values([str(n) for n in range(60)], errors_N)) == 4
    assert [each["value"] for each in by_values(["1", "2"] * 30, errors_N)] == ["1", "2"]


def test_rare_values_are_one_slice_and_empty_cells_have_a_name() -> None:
    values = ["web"] * 30 + [""] * 10 + [f"shop {n}" for n in range(20)]
    found = {each["value"]: each["texts"] for each in by_values(values, np.zeros(60))}
    assert found == {"web": 30, "(empty)": 10, "(others)": 20}


def test_equal_numbers_stand_in_one_quarter() -> None:
    assert [each["value"] for each in by_numbers([5] * 20, np.zeros(20))] == ["5"]


def test_errors_that_are_no_shares_have_a_bootstrap_interval() -> None:
    found = mean_error(np.array([1.0, 2.0, 9.0]), binary=False)
    assert found["value"] == pytest.approx(4.0)
    assert 1.0 <= found["low"] < 4.0 < found["high"] <= 9.0
