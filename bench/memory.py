"""Memory of scoring a file, by its length: `filbert predict MODEL rows.csv` with ten thousand rows, and with a million.

    python bench/memory.py [--rows 10000 1000000] [--write]

The model is `tiny`, with random weights, so that time is spent on reading, tokenising and writing; texts are words of
the vocabulary. Prints the largest resident size of each process and rows per second; returns 1 where the long file took
a tenth more memory than the short one, or rows are missing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from labelled import save_random
from records import HERE
from speeds import circumstances, record, resident

from filbert.bases.find import find_base
from filbert.bases.load import load_base
from filbert.config import EncoderConfig
from filbert.model.encoder import Encoder

RESULTS = HERE / "results" / "memory.jsonl"
MORE = 1.1
PREDICT = """
import sys
from filbert.cli import main
sys.argv = ["filbert", "predict", {model!r}, {rows!r}, "-o", {out!r}, "--json", "--overwrite"]
main()
"""


def write_rows(path: Path, count: int) -> None:
    """Write a CSV of an id and a text of five to thirty words."""
    rng = np.random.default_rng(0)
    folder = find_base("minilm").folder
    assert folder is not None
    words = [word for word in (folder / "vocab.txt").read_text("utf-8").split() if word.isalpha() and len(word) > 2]
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text\n")
        for n in range(count):
            chosen = rng.integers(0, len(words), rng.integers(5, 30))
            file.write(f'{n},"{" ".join(words[i] for i in chosen)}"\n')


def main() -> int:
    """Measure and print; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs=2, type=int, default=[10_000, 1_000_000])
    parser.add_argument("--write", action="store_true", help="append to bench/results/memory.jsonl")
    asked, sizes, speeds = parser.parse_args(), [], []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        folder = find_base("minilm").folder
        assert folder is not None
        _, tokenizer, _ = load_base(folder)
        encoder = Encoder(EncoderConfig.of_size("tiny", len(tokenizer)), torch.Generator().manual_seed(0))
        save_random(work / "model", encoder, tokenizer, 128)
        for rows in asked.rows:
            write_rows(work / "rows.csv", rows)
            code = PREDICT.format(model=str(work / "model"), rows=str(work / "rows.csv"), out=str(work / "out.csv"))
            began = time.monotonic()
            size, printed = resident(code)
            seconds, counts = time.monotonic() - began, json.loads(printed)
            sizes.append(size)
            assert counts["scored"] == rows, f"{rows:,} rows in, {counts['scored']:,} out"
            speeds.append(round(rows / seconds, 1))
            print(f"{rows:>9,} rows: {sizes[-1]:,.0f} MB, {speeds[-1]:,.0f} rows/s", flush=True)
    found = {"rows": asked.rows, "megabytes": sizes, "rows_per_second": speeds, "ratio": round(sizes[1] / sizes[0], 4)}
    record(RESULTS, {**found, **circumstances("torch")}, write=asked.write)
    return int(sizes[1] > MORE * sizes[0])


if __name__ == "__main__":
    sys.exit(main())
