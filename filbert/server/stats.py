"""What the server counts, in Prometheus' format: requests, stages, queues, processes. Never a text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from filbert.server.line import Scored
from filbert.server.served import Served

STAGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

Rows = dict[str, tuple[str, Callable[[Served], float]]]
GAUGES: Rows = {
    "filbert_up": ("Whether the model's process is there", lambda model: model.up),
    "filbert_queue_seconds": ("Seconds of work that wait or are in flight", lambda model: model.line.seconds),
    "filbert_queue_texts": ("Texts that wait", lambda model: model.line.waiting),
}
COUNTERS: Rows = {
    "filbert_texts_sent": ("Texts sent to the model", lambda model: model.line.computed),
    "filbert_restarts": ("Times the model's process was started again", lambda model: model.counts.restarts),
    "filbert_reloads": ("New models that were taken over", lambda model: model.counts.reloads),
    "filbert_failed_reloads": ("New models that were refused", lambda model: model.counts.failed_reloads),
}


class _Models(Collector):
    """The gauges of each model, read when they are asked for."""

    def __init__(self, models: Mapping[str, Served]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        for kind, rows in ((GaugeMetricFamily, GAUGES), (CounterMetricFamily, COUNTERS)):
            for name, (told, value) in rows.items():
                metric: Any = kind(name, told, labels=["model"])
                for each in self._models.values():
                    metric.add_metric([each.name], value(each))
                yield metric
        served: Any = GaugeMetricFamily(
            "filbert_model", "The version that is served", labels=["model", "version", "task"]
        )
        for each in self._models.values():
            served.add_metric([each.name, each.ready.version, each.ready.task], 1)
        yield served


class Stats:
    """The counters of one server."""

    def __init__(self, models: Mapping[str, Served]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Models(models))
        self._requests = Counter("filbert_requests", "Requests by status", ["route", "status"], registry=self._registry)
        self._stages = Histogram(
            "filbert_stage_seconds", "Seconds of a request's stages", ["stage"], buckets=STAGES, registry=self._registry
        )
        self._cut = Counter("filbert_texts_cut", "Texts longer than the model reads", registry=self._registry)

    def count(self, route: str, status: int) -> None:
        """Take an answered request into account."""
        self._requests.labels(route, str(status)).inc()

    def stages(self, found: Iterable[Scored], total: float) -> None:
        """Take the stages of a request into account: the slowest wait, the batch it was in, and all of it."""
        last = max(found, key=lambda each: each.waited)
        for stage, seconds in (
            ("queue", last.waited),
            ("tokenize", last.tokenize),
            ("infer", last.infer),
            ("total", total),
        ):
            self._stages.labels(stage).observe(seconds)
        if cut := sum(each.answer.truncated for each in found):
            self._cut.inc(cut)

    def text(self) -> bytes:
        """Return all of them as Prometheus reads them."""
        return generate_latest(self._registry)
