"""Start-up time of a new process: `--help`, and the label of one text, compared with `transformers`.

    python bench/cold_start.py [--runs 9]

Prints the median of the runs, the fastest and slowest one, and the median of the processor time, which says more on a
busy machine. `filbert --help` is to take at most 0.3 s, `filbert predict MODEL "text"` at most 1.5 s. The model is
`minilm` with a head of two classes; both sides read the same folder.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from labelled import save_random

from filbert.bases.find import find_base
from filbert.bases.load import load_base

RUNS = 9
TEXT = "Not a dull minute in it."
LIMITS = {"filbert --help": 0.3, "filbert predict": 1.5}  # seconds
FILBERT = "import sys; sys.argv = ['filbert', {}]; from filbert.cli import main; main()"
TRANSFORMERS = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer
import torch
tokenizer, model = AutoTokenizer.from_pretrained({0!r}), AutoModelForSequenceClassification.from_pretrained({0!r})
with torch.inference_mode():
    print(model(**tokenizer({1!r}, return_tensors="pt")).logits.softmax(-1))
"""


def commands(model: str) -> dict[str, str]:
    """Return the programs to run."""
    predict = f"'predict', {model!r}, {TEXT!r}"
    return {
        "python alone": "pass",
        "import filbert": "import filbert",
        "filbert --help": FILBERT.format("'--help'"),
        "filbert fit --help": FILBERT.format("'fit', '--help'"),
        "import torch": "import torch",
        "filbert predict": FILBERT.format(predict),
        "filbert predict, int8": FILBERT.format(f"{predict}, '--precision', 'int8'"),
        "transformers": TRANSFORMERS.format(model, TEXT),
    }


def seconds(code: str) -> tuple[float, float]:
    """Return the wall-clock and the processor time that a new Python takes to run the code."""
    began, used = time.perf_counter(), _used()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began, _used() - used


def _used() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def measure(runs: int, names: Sequence[str] = ()) -> dict[str, float]:
    """Time the programs, or those named, and print → the median wall-clock seconds of each."""
    medians = {}
    with tempfile.TemporaryDirectory() as work:
        folder = find_base("minilm").folder
        assert folder is not None
        encoder, tokenizer, _ = load_base(folder)
        save_random(Path(work) / "model", encoder, tokenizer, 512)
        for name, code in commands(str(Path(work) / "model")).items():
            if names and name not in names:
                continue
            found = [seconds(code) for _ in range(runs)]
            walls = sorted(wall for wall, _ in found)
            medians[name] = statistics.median(walls)
            processor = statistics.median(used for _, used in found)
            spread = f"{walls[0]:.3f} to {walls[-1]:.3f}, {runs} runs"
            print(f"{name:21} median {medians[name]:.3f} s  ({spread})  processor {processor:.3f} s", flush=True)
    return medians


def main() -> int:
    """Measure and print; return 1 where a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="of each program")
    medians = measure(parser.parse_args().runs)
    return int(any(medians[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
