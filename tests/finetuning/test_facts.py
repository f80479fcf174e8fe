"""Lengths in a report: every text in one bar, and no bar holds cut and uncut ones."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from filbert.finetuning.facts import length_profile


@pytest.mark.parametrize("max_length", [16, 50, 128, 512])
def test_length_profile_parts_cut_from_whole(max_length: int) -> None:
    lengths = np.random.default_rng(0).geometric(0.01, 2000).tolist()
    found = length_profile(lengths, max_length)
    edges, counts = found["edges"], found["counts"]
    assert sum(counts) == 2000
    assert edges == sorted(set(edges))
    assert max_length in edges
    cut = sum(count for edge, count in zip(edges, counts, strict=False) if edge >= max_length)
    assert cut == sum(length > max_length for length in lengths)


def test_length_profile_of_short_texts_and_of_none() -> None:
    found = length_profile([3, 4, 4, 30], 512)
    assert found["edges"][-1] == 30
    assert Counter(found["counts"])[0] == len(found["counts"]) - 2
    assert length_profile([], 512)["counts"] == [0]
