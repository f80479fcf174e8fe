"""The process of one model: opens it, replays its stored texts, then answers batches until stdin ends.

    python -m filbert.server.worker        (started by process.py, never by hand)

What the model's libraries print goes to stderr: stdout is the wire's alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from filbert.errors import FilbertError, ModelError
from filbert.files import sha256
from filbert.inference.engine import Engine, load
from filbert.inference.pipes import read_message
from filbert.inference.rows import cells, result_types
from filbert.inference.stored import replay
from filbert.server.wire import Answer, Answers, Batch, Item, Ready, Refused, Setup, guessed, packed

SAMPLE, MANY = "one of the words that say how long it takes. 一句话。 " * 2, 16
FAILED = "the model failed on this text"


def main() -> None:
    """Serve one model over stdin and stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server stops its workers itself
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = sys.stdin.buffer
    first = read_message(source)
    if first is None:
        return
    setup = msgspec.msgpack.decode(first, type=Setup)
    try:
        engine, ready = opened(setup)
    except (FilbertError, OSError, MemoryError) as error:
        out.write(packed(Refused(str(error) or type(error).__name__)))
        out.flush()
        return
    out.write(packed(ready))
    out.flush()
    while (body := read_message(source)) is not None:
        out.write(packed(answered(engine, msgspec.msgpack.decode(body, type=Batch).items)))
        out.flush()


def opened(setup: Setup) -> tuple[Engine, Ready]:
    """Open a model and make sure that it answers its stored texts as it did when it was saved; ModelError."""
    folder = Path(setup.model)
    before = version_of(folder)
    rates = {"abstain": setup.abstain, "unknown": setup.unknown}
    engine = load(folder, device=setup.device, precision=setup.precision, cascade=setup.cascade, **rates)
    if version_of(folder) != before:
        raise ModelError(f"{folder} — changed while it was opened — try again when it is complete")
    replay(engine, setup.precision)
    fixed, per_token = speed(engine)
    columns = engine.info.get("columns") or {}
    ready = Ready(
        version=before,
        task=engine.task.NAME,
        kind=engine.task.HUB[1],
        texts=engine.texts,
        whole=engine.task.WINDOWS or engine.head.weighed,
        max_length=engine.max_length,
        columns={role: list(names) for role, names in columns.items()},
        types=result_types(engine),
        saved=engine.task.saved(engine.settings),
        fixed=fixed,
        per_token=per_token,
        precision=setup.precision,
    )
    return engine, ready


def speed(engine: Engine) -> tuple[float, float]:
    """Return the seconds of a batch however small, and of each token beside: of one short text, and of many."""
    one = [(SAMPLE,) * (engine.texts or 1)]
    many = one * MANY
    answered(engine, [Item(each) for each in many])  # the first call is slower
    alone, together = (min(_seconds(engine, inputs) for _ in range(2)) for inputs in (one, many))
    tokens = guessed(one[0])
    per_token = max((together - alone) / ((MANY - 1) * tokens), 1e-7)
    return max(0.0, alone - tokens * per_token), per_token


def _seconds(engine: Engine, inputs: Sequence[tuple[str, ...]]) -> float:
    took = answered(engine, [Item(each) for each in inputs])
    return took.tokenize + took.infer


def version_of(folder: Path) -> str:
    """Return the first twelve hex digits of the manifest's SHA-256, or of config.json's where others made the model."""
    for name in ("filbert.json", "config.json"):
        if (folder / name).is_file():
            return sha256(folder / name)[:12]
    return ""


def answered(engine: Engine, items: Sequence[Item]) -> Answers:
    """Answer a batch; where scoring it raises, item by item, so that only the culprit fails."""
    try:
        return scored(engine, items)
    except Exception as error:
        if len(items) == 1:
            return Answers([_failure(error)], 0.0, 0.0)
    alone = [answered(engine, [item]) for item in items]
    return Answers([each.answers[0] for each in alone], sum(e.tokenize for e in alone), sum(e.infer for e in alone))


def _failure(error: Exception) -> Answer:
    """Say what went wrong without a word of the text."""
    told = str(error) if isinstance(error, ModelError) else f"{FAILED} ({type(error).__name__})"
    print(f"worker: {type(error).__name__} while scoring", file=sys.stderr, flush=True)
    return Answer(error=told)


def scored(engine: Engine, items: Sequence[Item]) -> Answers:
    """Tokenise and score a batch at once."""
    began = time.perf_counter()
    encodings = engine.encode([item.inputs for item in items])
    tokenised = time.perf_counter()
    predictions = engine.answer(encodings)
    answers = []
    for item, prediction in zip(items, predictions, strict=True):
        if prediction.truncated and not item.truncate:
            wrong = f"is longer than the {engine.max_length} tokens that the model reads"
            answers.append(Answer(error=f"{wrong} — shorten it, or send truncate: true", refused=True))
            continue
        outputs = _outputs(engine, item) if item.raw else None
        shown, hub = (
            engine.task.show(prediction, engine.settings),
            engine.task.hub(prediction, engine.settings, outputs),
        )
        answers.append(
            Answer(
                hub=_withheld(hub) if prediction.withheld else hub,
                row=cells(engine, prediction),
                shown="" if prediction.withheld else shown.answer,
                bars=dict(shown.bars),
                truncated=prediction.truncated,
                abstained=prediction.abstained,
                unknown=prediction.unknown,
            )
        )
    return Answers(answers, tokenised - began, time.perf_counter() - tokenised)


def _withheld(hub: Any) -> Any:
    """Return an answer in the hub's shape that says nothing: no label, or empty texts."""
    if isinstance(hub, list):
        return [[]]
    return {name: "" if isinstance(value, str) else value for name, value in hub.items()}


def _outputs(engine: Engine, item: Item) -> Any:
    """Return what the head gives an item, in its only window or on average; None where windows are no parts of it."""
    windows = engine.features([item.inputs])
    return np.asarray(engine.outputs(windows)[0][0]) if len(windows[0]) == 1 or engine.head.weighed else None


if __name__ == "__main__":
    main()
