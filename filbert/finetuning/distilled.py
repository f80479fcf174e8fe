"""What a student kept of its teachers: figures beside theirs on the same texts, agreement, and speed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from filbert.finetuning.prepare import Run
from filbert.inference.engine import Engine, load
from filbert.progress import Watcher
from filbert.records import Prediction
from filbert.tasks.task import Json

TIMED, ROUNDS = 128, 5  # texts, and how often each side scores them, one after the other


def beside_teachers(out: Path, run: Run, known: Mapping[str, Sequence[Prediction]], watch: Watcher) -> Json:
    """Compare a student with its teachers → facts for the report.

    `known` is what the student answered to the held-out texts. Where people have labelled them, both are measured by
    these labels; by how much student and teachers agree is always told.
    """
    soft, task, settings, parts = run.data.soft, run.data.task, run.data.settings, run.data.splits.parts
    assert soft is not None
    metric = task.page().metrics[0]
    found: Json = {**soft.facts, "metric": (metric.key, metric.name, metric.percent), "splits": {}}
    for split, ours in known.items():
        examples, theirs = parts[split], soft.answers[split]
        agreed = [
            replace(example, target=task.answered(answer, settings))
            for example, answer in zip(examples, theirs, strict=True)
        ]
        facts: Json = {"n": len(examples), "agreement": task.score(agreed, ours, settings)[metric.key]}
        if split != "validation" or not soft.drawn:
            facts["student"] = task.score(examples, ours, settings)[metric.key]
            facts["teacher"] = task.score(examples, theirs, settings)[metric.key]
            facts["difference"] = task.compare(examples, ours, theirs, settings)
        found["splits"][split] = facts
    watch.say("measuring the speed of student and teacher in turns")
    inputs = [example.inputs for example in parts[list(known)[-1]][:TIMED]]
    teachers = [load(each["folder"], device=run.device, precision="auto") for each in soft.facts["teachers"]]
    student = load(out, device=run.device, precision="auto")
    return {**found, "speed": _speed([student], teachers, inputs)}


def _speed(students: Sequence[Engine], teachers: Sequence[Engine], inputs: Sequence[tuple[str, ...]]) -> Json:
    """Return texts/s and tokens/s, each side's median over rounds in which both score the same texts."""
    sides = {"student": students, "teacher": teachers}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS + 1):
        for name, engines in sides.items():
            began = time.perf_counter()
            for engine in engines:
                engine.predict(inputs)
            if turn:  # the first is for warming up
                seconds[name].append(time.perf_counter() - began)
    found: Json = {}
    for name, engines in sides.items():
        tokens = sum(len(window) for engine in engines for each in engine.features(inputs) for window in each)
        taken = max(median(seconds[name]), 1e-9)
        found[name] = {"texts": round(len(inputs) / taken, 1), "tokens": round(tokens / taken, 1)}
    return {**found, "times": round(found["student"]["texts"] / max(found["teacher"]["texts"], 1e-9), 2)}
