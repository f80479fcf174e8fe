"""A short run of requests that are made up, the same each time; `make fuzz` runs them for minutes."""

from __future__ import annotations

from fuzzing_server import answered, requests, well
from hypothesis import HealthCheck, Phase, given, settings
from serving import Running


def test_whatever_the_request_it_is_answered_or_cut(server: Running) -> None:
    @settings(
        max_examples=60,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(requests())
    def check(data: bytes) -> None:
        answered(server, data)

    check()
    well(server)
