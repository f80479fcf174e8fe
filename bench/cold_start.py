"""How long the command takes to answer: `filbert --help`, the help of a command, and the bare import.

    python bench/cold_start.py

Prints the median of nine runs, each a new process, the fastest and slowest one, and the median of the processor time,
which says more on a busy machine. `filbert --help` is to take at most 0.3 s.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

RUNS = 9
LIMIT = 0.3  # seconds
COMMANDS = {
    "python alone": "pass",
    "import filbert": "import filbert",
    "filbert --help": "import sys; sys.argv = ['filbert', '--help']; from filbert.cli import main; main()",
    "filbert fit --help": "import sys; sys.argv = ['filbert', 'fit', '--help']; from filbert.cli import main; main()",
}


def seconds(code: str) -> tuple[float, float]:
    """Return the wall-clock and the processor time that a new Python takes to run the code."""
    began, used = time.perf_counter(), _used()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began, _used() - used


def _used() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def main() -> int:
    """Measure and print; return 1 where the limit is broken."""
    medians = {}
    for name, code in COMMANDS.items():
        runs = [seconds(code) for _ in range(RUNS)]
        walls = sorted(wall for wall, _ in runs)
        medians[name] = statistics.median(walls)
        processor = statistics.median(used for _, used in runs)
        spread = f"{walls[0]:.3f} to {walls[-1]:.3f}, {RUNS} runs"
        print(f"{name:20} median {medians[name]:.3f} s  ({spread})  processor {processor:.3f} s")
    return int(medians["filbert --help"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
