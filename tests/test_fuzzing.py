"""A short run of every fuzz target, the same each time; `make fuzz` runs them for minutes, with other files."""

from __future__ import annotations

import pytest
from fuzzing import MEGABYTES, held, peak
from fuzzing_models import MODELS, model_files
from fuzzing_texts import TEXTS
from hypothesis import HealthCheck, Phase, given, settings

TARGETS = {**TEXTS, **MODELS}
EXAMPLES = 25  # of each target
QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_the_file_reading_ends_with_rows_or_with_a_message(name: str) -> None:
    target = TARGETS[name]
    model_files()  # made once, and no part of what is measured

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=QUIET,
    )
    @given(target.files)
    def check(files: dict[str, bytes]) -> None:
        held(target, files)

    before = peak()
    check()
    assert peak() - before < MEGABYTES
