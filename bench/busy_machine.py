"""Training and scoring on a machine that does other work, by how OpenMP's threads wait for each other.

`filbert fit` of SST-2's first texts and `filbert predict` of the model, as a person calls them, in three ways of
waiting: spinning as long as OpenMP has it, spinning for a moment, and asleep (`OMP_WAIT_POLICY=PASSIVE`, which Filbert
sets where the user has set nothing). Each on an idle machine, beside one and beside two processes that never rest, and
as two runs at once, of which each is measured. The ways alternate in each round; the first round on the idle machine
warms up and is not kept. Medians are written.

    python bench/busy_machine.py [--rounds 3] [--texts 600] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from records import DATA, HERE, append

RESULTS = HERE / "results" / "busy_machine.jsonl"
WAYS: Mapping[str, Mapping[str, str]] = {
    "spinning": {"GOMP_SPINCOUNT": "300000"},  # libgomp's own number where nothing is set
    "spinning for a moment": {"GOMP_SPINCOUNT": "1000"},
    "asleep": {},
}
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
SCORED = 3  # times as many texts as are trained on


@contextmanager
def beside(count: int) -> Iterator[None]:
    """Keep so many processes busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def environment(way: str) -> dict[str, str]:
    """Return the environment of a run: nothing said of threads but what the way says."""
    return {**{key: value for key, value in os.environ.items() if key not in VARIABLES}, **WAYS[way]}


def at_once(commands: list[list[str]], way: str) -> list[str]:
    """Run commands side by side → what each printed."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "filbert", *command],
            env=environment(way),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=HERE.parent,
        )
        for command in commands
    ]
    printed = [each.communicate()[0] for each in running]
    for each, command in zip(running, commands, strict=True):
        if each.returncode:
            raise SystemExit(f"filbert {' '.join(command)} failed with exit status {each.returncode}")
    return printed


def training(data: Path, out: Path, way: str, runs: int) -> list[float]:
    """Fit `runs` models at once → tokens/s of each."""
    folders = [out / f"model-{n}" for n in range(runs)]
    tail = ["--base", "minilm", "--epochs", "1", "--no-baseline", "--overwrite", "--json"]
    at_once([["fit", str(data), "-o", str(folder), *tail] for folder in folders], way)
    reports = [json.loads((folder / "report.json").read_text("utf-8")) for folder in folders]
    return [float(report["training"]["tokens_per_second"]) for report in reports]


def scoring(texts: Path, out: Path, way: str, runs: int) -> list[float]:
    """Score the texts in `runs` processes at once → texts/s of each."""
    tail = ["--overwrite", "--json"]
    found = at_once(
        [["predict", str(out / "model-0"), str(texts), "-o", str(out / f"{n}.csv"), *tail] for n in range(runs)], way
    )
    return [facts["read"] / facts["seconds"] for facts in map(json.loads, found)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--write", action="store_true", help=f"append a row to {RESULTS.name}")
    args = parser.parse_args()
    lines = (DATA / "sst2" / "train.tsv").read_text("utf-8").splitlines(keepends=True)
    circumstances = {"idle": (0, 1), "one busy process": (1, 1), "two busy processes": (2, 1), "two runs": (0, 2)}
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        (out / "data.tsv").write_text("".join(lines[: args.texts]), "utf-8")
        (out / "more.tsv").write_text("".join(lines[: SCORED * args.texts]), "utf-8")
        for name, (busy, runs) in circumstances.items():
            with beside(busy):
                for n in range(args.rounds + (name == "idle")):
                    for way in WAYS:
                        speeds = {
                            "training": training(out / "data.tsv", out, way, runs),
                            "scoring": scoring(out / "more.tsv", out, way, runs),
                        }
                        print(
                            f"{name}, {way}: " + ", ".join(f"{what} {each}" for what, each in speeds.items()),
                            flush=True,
                        )
                        if name == "idle" and n == 0:
                            continue
                        for what, each in speeds.items():
                            found.setdefault(what, {}).setdefault(name, {}).setdefault(way, []).extend(each)
    row = {
        "texts": args.texts,
        "rounds": args.rounds,
        **{
            what: {name: {way: round(median(each), 1) for way, each in ways.items()} for name, ways in names.items()}
            for what, names in found.items()
        },
    }
    print(json.dumps(row, indent=2))
    if args.write:
        append(RESULTS, row)


if __name__ == "__main__":
    main()
