"""Check every target that this machine can measure, in ten minutes: target, measurement, met or missed.

    make bench-quick

The parts are those of the long benchmarks with fewer texts and rounds, so a reading may be a tenth off; what counts as
a record is in RESULTS.md. The classifier whose scoring is timed is that of IMDb which `bench/accuracy.py` left in
bench/work/; without it one is fitted here, on 800 reviews, which is oftener in doubt. What takes longer than ten
minutes is read from the newest record instead, and says so; without one, and without a GPU, it is open.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

import cold_start
import predict_speed
import pretrain_speed
import torch
import train_accuracy
import train_speed
from encoders import limited
from labelled import with_texts
from records import DATA, HERE
from tables import records

from filbert.cli.console import Screen, table
from filbert.config import TrainConfig
from filbert.finetuning.dataset import read_dataset
from filbert.finetuning.fit import fit

SIDES = (train_accuracy.OURS, train_accuracy.RIVAL)
LOST = 0.003  # of accuracy, measured on test texts that the promise was not fitted on
Bar = tuple[str, float, float | None, str]  # what, what is asked, what was read, unit
AT_MOST = (" s", " points", " % of time", " × or less")  # units of which less is better
EAGER, INT8, OURS = "transformers, fp32", ("openvino, int8", "onnxruntime, int8", "torchao, int8"), "filbert, int8"


def training() -> Iterator[Bar]:
    record = train_speed.measure("long", "minilm", count=32, runs=2, batch=16)
    yield "fine-tuning, beside transformers as it comes", 10, record["ratio"][train_speed.OURS], " ×"
    yield "fine-tuning, beside transformers tuned", 1.7, record["ratio_to_tuned"][train_speed.OURS], " ×"
    yield "fine-tuning, of the bf16 product peak, plain BERT", 60, 100 * record["of_peak"]["plain"], " %"
    yield "fine-tuning, of the bf16 product peak, products made", 60, 100 * record["of_peak"]["made"], " %"
    yield "reading, tokenising and packing, of an epoch", 5, 100 * record["reading"], " % of time"


def pretraining() -> Iterator[Bar]:
    record = pretrain_speed.measure(texts=64, rounds=1)
    yield "pre-training, beside run_mlm's loop", 4, record["ratio"][pretrain_speed.OURS], " ×"


def classifier() -> Path:
    """Return the folder of IMDb's classifier, or of a small one."""
    folder = HERE / "work" / "imdb-minilm-seed0"
    if (folder / "report.json").is_file():
        return folder
    data = read_dataset(DATA / predict_speed.SETS["imdb"])
    validation, test = (predict_speed.drawn(part, 200) for part in (data.splits.validation, data.splits.test))
    few = limited(with_texts(data, validation=validation, test=test), 800)
    folder = HERE / "work" / "quick"
    with Screen() as screen:
        fit(few, folder, base="minilm", config=TrainConfig(epochs=2), compare=False, overwrite=True, watch=screen)
    return folder


def scoring() -> Iterator[Bar]:
    sides = (EAGER, *INT8, OURS, "filbert, fp32")
    record = predict_speed.compared(classifier(), "imdb", texts=96, runs=3, only=sides)
    speed, quality, alone = record["speed"], record["quality"], record["milliseconds"]
    best = max((speed[side], side) for side in speed if side.startswith(INT8))
    yield f"scoring, beside {best[1]}", 1.5, speed[OURS] / best[0], " ×"
    lost = quality["filbert, fp32"]["accuracy"] - quality[OURS]["accuracy"]
    yield "scoring in int8, accuracy lost", 0.2, 100 * lost, " points"
    made = record["products"] * speed[OURS] / record["tokens"] / record["peak_gflops"]["int8"] / 1e9
    yield "scoring, of the int8 product peak, products made", 60, 100 * made, " %"
    for length in map(str, predict_speed.ALONE):
        yield f"one text of {length} tokens, beside {EAGER}", 3, alone[EAGER][length] / alone[OURS][length], " ×"


def starting() -> Iterator[Bar]:
    found = cold_start.measure(3, tuple(cold_start.LIMITS))
    for name, limit in cold_start.LIMITS.items():
        yield f"a new process: {name}", limit, found[name], " s"


def recorded() -> Iterator[Bar]:
    speeds = [
        one["speedup"]
        for row in [row for row in records("cascade.jsonl") if row["set"] == "imdb" and row["precision"] == "fp32"][-1:]
        for one in row["cascades"]
        if one["lost"]["value"] <= LOST
    ]
    yield (
        f"record: the cascade, IMDb, at most {100 * LOST:.1f} points lost",
        10,
        max(speeds, default=None),
        " ×",
    )
    memory = [row["ratio"] for row in records("memory.jsonl")]
    yield "record: memory for a million rows, beside ten thousand", 1.1, memory[-1] if memory else None, " × or less"
    for name in train_accuracy.NAMES:
        rows = [row for row in records("train_accuracy.jsonl") if row["set"] == name]
        found = {side: [100 * row["accuracy"]["value"] for row in rows if row["base"] == side] for side in SIDES}
        name_of_bar = f"record: {name}, accuracy that transformers' loop is ahead"
        if all(len(values) > 1 for values in found.values()):
            ours, theirs = found.values()
            yield name_of_bar, max(map(stdev, found.values())), mean(theirs) - mean(ours), " points"
        else:
            yield name_of_bar, 0, None, " points"


def on_gpu() -> Iterator[Bar]:
    yield "GPU: pre-training at base size, of the bf16 peak", 45, None, " %"
    yield "GPU: fine-tuning beside transformers' Trainer", 2.5, None, " ×"
    yield "GPU: scoring beside flash attention without padding", 1.2, None, " ×"


def verdict(bar: Bar) -> str:
    _, asked, read, unit = bar
    if read is None:
        return "open"
    return "met" if (read <= asked if unit in AT_MOST else read >= asked) else "MISSED"


def main() -> int:
    """Measure and print the table; return how many bars are missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    began, bars = time.monotonic(), list[Bar]()
    torch.set_num_threads(predict_speed.THREADS)
    for part in (training, pretraining, scoring, starting, recorded, on_gpu):
        bars += part()
        print(f"{part.__name__}: done after {time.monotonic() - began:,.0f} s", flush=True)
    rows: list[tuple[str, ...]] = [("bar", "asked", "read", "")]
    for bar in bars:
        what, asked, read, unit = bar
        rows.append((what, f"{asked:.3g}{unit}", "" if read is None else f"{read:.2f}{unit}", verdict(bar)))
    print("", *table(rows, right=(1, 2)), "", sep="\n")
    return sum(verdict(bar) == "MISSED" for bar in bars)


if __name__ == "__main__":
    sys.exit(int(main() > 0))
