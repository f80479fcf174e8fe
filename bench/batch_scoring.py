"""A million short rows from file to file: memory beside the model, and speed beside the engine's own just before.

    python bench/batch_scoring.py [--rows 1000000] [--base minilm] [--precision fp32] [--processes 1] [--write]

The model is a base with a random head; rows are an id and 3 to 12 words of its vocabulary. The engine's own speed is
that of `Engine.predict` on 20,000 of the same texts, held in memory, in a process of its own. Returns 1 where the
largest resident size is more than the weights' file and 300 MB, or the rows come at less than 0.9 of that speed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from labelled import save_random
from records import HERE
from speeds import circumstances, record, resident

from filbert.bases.find import find_base
from filbert.bases.load import load_base

RESULTS = HERE / "results" / "batch_scoring.jsonl"
SHARE, BESIDE = 0.9, 300  # of the engine's speed; megabytes beside the model
ALONE = 20_000  # rows that the engine's speed is measured on
ENGINE = """
import csv, json, time
from itertools import islice
from filbert.inference.engine import CHUNK, load
engine = load({model!r}, precision={precision!r})
with open({rows!r}, encoding="utf-8", newline="") as file:
    texts = [row["text"] for row in islice(csv.DictReader(file), {alone})]
engine.predict(texts[:CHUNK])
began = time.monotonic()
for at in range(0, len(texts), CHUNK):
    engine.predict(texts[at:at + CHUNK])
print(json.dumps(len(texts) / (time.monotonic() - began)))
"""
FILE = """
import sys
from filbert.cli import main
sys.argv = ["filbert", "predict", {model!r}, {rows!r}, "-o", {out!r}, "--json", *{more!r}]
main()
"""


def write_rows(path: Path, words: list[str], count: int) -> None:
    """Write a CSV of an id and a text of 3 to 12 words."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text\n")
        for n in range(count):
            chosen = rng.integers(0, len(words), rng.integers(3, 13))
            file.write(f'{n},"{" ".join(words[i] for i in chosen)}"\n')


def main() -> int:
    """Measure and print; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="append to bench/results/batch_scoring.jsonl")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        model, rows, out = (Path(name) / part for part in ("model", "rows.csv", "out.csv"))
        encoder, tokenizer, _ = load_base(find_base(asked.base).folder)
        save_random(model, encoder, tokenizer, 128)
        words = [word for word in (model / "vocab.txt").read_text("utf-8").split() if word.isalpha() and len(word) > 2]
        write_rows(rows, words, asked.rows)
        given = {"model": str(model), "rows": str(rows), "out": str(out), "precision": asked.precision}
        _, alone = resident(ENGINE.format(**given, alone=ALONE))
        more = ["--precision", asked.precision, *(["--processes", str(asked.processes)] * (asked.processes > 1))]
        peak, told = resident(FILE.format(**given, more=more))
        counts = json.loads(told)
        weights = (model / "model.safetensors").stat().st_size / 2**20
        with out.open(encoding="utf-8") as file:
            written = sum(1 for _ in file) - 1
    assert counts["scored"] == written == asked.rows, f"{asked.rows:,} rows in, {written:,} out"
    found = {
        "rows": asked.rows,
        "base": asked.base,
        "precision": asked.precision,
        "processes": asked.processes,
        "megabytes": peak,
        "model": round(weights),
        "rows_per_second": round(asked.rows / counts["seconds"], 1),
        "engine": round(float(alone), 1),
    }
    record(RESULTS, {**found, **circumstances("torch")}, write=asked.write)
    return int(peak > weights + BESIDE or found["rows_per_second"] < SHARE * found["engine"])


if __name__ == "__main__":
    sys.exit(main())
