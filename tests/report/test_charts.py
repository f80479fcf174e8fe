"""The pictures: their axes."""

from __future__ import annotations

import pytest

from filbert.report.charts import ticks


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.85, 0.94), (3, 3), (0, 1e-4), (-2, 7), (12, 25_000)])
def test_ticks_cover_the_range_with_few_round_numbers(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 8
