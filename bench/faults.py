"""The long fault tests: what is killed at random instants, or runs out of disk, loses nothing; the bytes are the same.

    fit       T15  200 kills of `filbert fit` at random instants, saves too; resumed, the weights are those of no kill
    predict   M39  200 kills of `filbert predict`; resumed, the output is byte for byte that of no kill, each row once
    disk      T17  `fit --overwrite` on a full disk of every size: the model before or the new one, never a mixture
    disk-out  M39  `predict` on a full disk of every size: no half output; with room, the bytes of no fault
    rank      T23  one of two processes dies: an error within a minute, and the run goes on later
    overload  S28  three times the load: only 200 and 429, each row answered right, bounded memory
    soak      S28  0.7 of the load for --seconds: the same answers to the bit, memory

    python bench/faults.py [CHECK …] [--kills 200] [--seconds 60] [--minutes 30] [--write]

Bounded by --minutes a check and resumable: what passed is kept in bench/work/faults.jsonl and not done again at the
same commit. The disks are tmpfs where one may be mounted, else files are limited (RLIMIT_FSIZE). Prints a line for each
check; returns 1 where one failed. --write appends the figures to bench/results/faults.jsonl.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from records import HERE, Row, append, commit, read

RESULTS, WORK = HERE / "results" / "faults.jsonl", HERE / "work" / "faults.jsonl"
FIT = [
    "fit",
    "texts.csv",
    "-o",
    "run",
    "--base",
    "tiny",
    "--epochs",
    "2",
    "--batch-size",
    "8",
    "--no-baseline",
    "--precision",
    "fp32",
    "--device",
    "cpu",
]
PREDICT = ["predict", "model", "new.csv", "-o", "out.csv", "--device", "cpu"]
TEXTS, ROWS, CHUNK = 48, 600, 8
SIZES = 24  # of a disk, from none of the room that is needed to all of it
MEMORY = 64  # MB that a server under load may grow by
MOST = 120  # seconds of one command

Words = Sequence[str]


def texts(path: Path, count: int, *, labels: bool) -> Path:
    """Write numbered texts, of two classes."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "label"] if labels else ["id", "text"])
        for n in range(count):
            text = f"a {('bad', 'good', 'dull', 'fine')[n % 4]} film, number {n}"
            rows.writerow([n, text, "ab"[n % 2]] if labels else [n, text])
    return path


def child(words: Words, folder: Path, limit: int | None = None) -> int:
    """Start a command in a copy of this process, which has everything loaded, and return the copy's process id.

    It saves after every step and keeps every chunk, so that many instants are inside of a save.
    """
    number = os.fork()
    if number:
        return number
    code = 70
    try:
        from filbert import cli
        from filbert.inference import engine, kept
        from filbert.training import loop

        os.chdir(folder)
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv = ["filbert", *words]
        loop.CHECKPOINT_SECONDS, engine.CHUNK, kept.PATIENCE = 0.0, CHUNK, 0.0
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        code = cli.run(words)
        sys.stdout.flush()
    finally:
        os._exit(code)


def ended(number: int, within: float = MOST) -> int | None:
    """Wait for a copy and return its exit code; None where it was killed here, as its time was over."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        found, status = os.waitpid(number, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.001)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None


def whole(words: Words, folder: Path) -> float:
    """Run a command to its end and return its seconds."""
    began = time.monotonic()
    code = ended(child(words, folder))
    assert code == 0, (folder / "said.txt").read_text()
    return time.monotonic() - began


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def numbers(path: Path) -> list[int]:
    """Return the row numbers of an output."""
    with path.open(encoding="utf-8", newline="") as file:
        return [int(row["id"]) for row in csv.DictReader(file)]


class Kills:
    """Kills of one command at random instants, counted over runs of this script; `check` compares a finished run."""

    def __init__(self, name: str, words: Words, prepare: Callable[[Path], None], result: str) -> None:
        self.name, self.words, self.prepare, self.result = name, words, prepare, result

    def run(self, wanted: int, minutes: float) -> Row:
        """Kill until `wanted` kills are done, or the time is over; every finished run is compared."""
        done = [row for row in kept_rows(self.name) if "kills" in row]
        kills, runs, lost, doubled = (sum(row[key] for row in done) for key in ("kills", "runs", "lost", "doubled"))
        draw, ends = random.Random(kills), time.monotonic() + 60 * minutes
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            expected, seconds = self._expected(folder / "whole")
            while kills < wanted and time.monotonic() < ends:
                here = folder / str(runs)
                self.prepare(here)
                count, missing, twice = self._until_finished(here, expected, seconds, draw, wanted - kills)
                row = {"kills": count, "runs": 1, "lost": missing, "doubled": twice}
                kills, runs, lost, doubled = kills + count, runs + 1, lost + missing, doubled + twice
                keep(self.name, row)
                shutil.rmtree(here)
        return {"kills": kills, "runs": runs, "lost": lost, "doubled": doubled, "passed": kills >= wanted}

    def _expected(self, folder: Path) -> tuple[Path, float]:
        self.prepare(folder)
        seconds = whole(self.words, folder)
        return folder / self.result, seconds

    def _until_finished(
        self, here: Path, expected: Path, seconds: float, draw: random.Random, most: int
    ) -> tuple[int, int, int]:
        """Kill and repeat the same command until it ends by itself → kills, rows lost, rows doubled."""
        for count in range(most + 1):
            number = child(self.words, here)
            code = ended(number, draw.uniform(0, seconds) if count < most else MOST)
            if code is not None:
                break
        else:
            count = most
        # killed when all was done but the end: the same command then refuses to write over its own whole output
        assert code == 0 or (code == 2 and (here / self.result).exists()), (
            f"{self.name} after {count} kills: {code}\n{(here / 'said.txt').read_text()[-2000:]}"
        )
        assert digest(here / self.result) == digest(expected), f"{self.name} after {count} kills: other bytes"
        left = [str(path) for path in here.rglob("*") if path.name.startswith(".filbert")]
        assert not left, f"{self.name} after {count} kills: {left} is left"
        if self.result.endswith(".csv"):
            found, wanted = numbers(here / self.result), numbers(expected)
            return count, len(set(wanted) - set(found)), len(found) - len(set(found))
        return count, 0, 0


def fit_folder(folder: Path) -> None:
    folder.mkdir()
    texts(folder / "texts.csv", TEXTS, labels=True)


def predict_folder(model: Path) -> Callable[[Path], None]:
    """Return what makes a folder with rows to be scored, and a link to the model."""

    def prepare(folder: Path) -> None:
        folder.mkdir()
        texts(folder / "new.csv", ROWS, labels=False)
        (folder / "model").symlink_to(model)

    return prepare


def kept_rows(name: str) -> list[Row]:
    """Return what passed of a check at this commit."""
    now = commit()
    return [row for row in read(WORK) if row["check"] == name and row["commit"] == now]


def keep(name: str, row: Row) -> None:
    append(WORK, {"check": name, **row})


@contextlib.contextmanager
def disk(kilobytes: int) -> Iterator[tuple[Path, Callable[[int], None] | None]]:
    """Give a disk of so many kB and what makes it larger; where none may be mounted a folder, and nothing."""
    with tempfile.TemporaryDirectory() as name:
        mount = ["mount", "-t", "tmpfs", "-o"]
        if subprocess.run([*mount, f"size={max(kilobytes, 4)}k", "none", name], stderr=subprocess.DEVNULL).returncode:
            yield Path(name), None
            return
        try:
            yield Path(name), lambda size: subprocess.run([*mount, f"remount,size={size}k", "none", name], check=True)
        finally:
            subprocess.run(["umount", "-l", name], check=False)


def size_of(folder: Path) -> int:
    """Return what a folder takes on a disk, in kB."""
    return sum(-(-path.stat().st_size // 4096) * 4 for path in folder.rglob("*") if path.is_file())


def full_disks(minutes: float) -> Row:
    """Train over a finished model on disks of every size; what is there afterwards is one of the two, whole."""
    from filbert.inference.model import open_model

    anew = [*FIT, "--seed", "7", "--overwrite"]
    tried = refused = 0
    ends = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "whole"
        fit_folder(folder)
        whole(FIT, folder)
        shutil.copytree(folder, old := Path(scratch) / "old")
        whole(anew, folder)
        models = {digest(each / "run" / "model.safetensors"): each.name for each in (old, folder)}
        assert len(models) == 2
        begun = size_of(old)
        for number in range(SIZES + 1):
            if time.monotonic() > ends:
                break
            room = begun + 8 + number * (3 * begun) // SIZES
            with disk(room) as (place, grow):
                here = place / "here"
                shutil.copytree(old, here)
                limit = None if grow else number * begun * 1024 // SIZES
                code = ended(child(anew, here, limit))
                tried += 1
                said = (here / "said.txt").read_text()[-300:]
                assert code is not None, f"disk of {room} kB: hangs"
                assert "Traceback" not in said, said
                found = models[digest(here / "run" / "model.safetensors")]
                open_model(here / "run")  # whole: every file as the manifest says
                assert (code == 0) == (found == "whole"), (
                    f"disk of {room} kB: exit {code}, but the {found} model is there"
                )
                refused += code != 0
                if grow and code:
                    grow(8 * begun)
                    whole(anew, here)
                    assert models[digest(here / "run" / "model.safetensors")] == "whole", f"disk of {room} kB, resumed"
    return {"sizes": tried, "full": refused, "mixed": 0, "passed": tried == SIZES + 1}


def full_outputs(model: Path, minutes: float) -> Row:
    """Score onto disks of every size: no output, or the whole one; with more room the same bytes."""
    tried = refused = 0
    prepare, ends = predict_folder(model), time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch) / "whole")
        whole(PREDICT, Path(scratch) / "whole")
        expected = Path(scratch) / "whole" / "out.csv"
        begun, needed = size_of(expected.parent) - expected.stat().st_size // 1024, expected.stat().st_size // 1024
        for number in range(SIZES + 1):
            if time.monotonic() > ends:
                break
            room = begun + 4 + number * 6 * needed // SIZES
            with disk(room) as (place, grow):
                here = place / "here"
                prepare(here)
                limit = None if grow else (number + 1) * expected.stat().st_size // SIZES
                code = ended(child(PREDICT, here, limit))
                tried += 1
                refused += code != 0
                assert code is not None, f"disk of {room} kB: hangs"
                assert (here / "out.csv").exists() == (code == 0), f"disk of {room} kB: exit {code}"
                if grow and code:
                    grow(64 * (begun + needed))
                    whole(PREDICT, here)
                if grow or not code:
                    assert digest(here / "out.csv") == digest(expected), f"disk of {room} kB: other bytes"
    return {"sizes": tried, "full": refused, "lost": 0, "doubled": 0, "passed": tried == SIZES + 1}


def a_rank_dies(minutes: float) -> Row:
    """Run the slow test of two processes of which one dies, and time it."""
    began = time.monotonic()
    words = ["-m", "pytest", "-q", "-k", "T23", str(HERE.parent / "tests" / "pretraining" / "test_distributed.py")]
    ran = subprocess.run(
        [sys.executable, *words], cwd=HERE.parent, capture_output=True, text=True, timeout=60 * minutes
    )
    assert ran.returncode == 0, ran.stdout[-2000:]
    return {"seconds": round(time.monotonic() - began), "passed": True}


def served(model: Path, phase: str, seconds: float) -> Row:
    """Serve the model in a process of its own, send it 3 C or 0.7 C, and see what is answered and what it takes."""
    from serve_load import Subject, measured, post

    from filbert.inference.engine import load

    long = [" ".join(f"a {word} film {n * k}" for k in range(120)) for n, word in enumerate(("bad", "good") * 16)]
    engine = load(model, device="cpu")
    engine.predict(long)
    began = time.perf_counter()
    engine.predict(long)
    capacity = len(long) / (time.perf_counter() - began)
    (row,) = measured(Subject("films", model, "fp32", [post(text) for text in long], capacity), phase, seconds)
    assert set(row["statuses"]) <= {"200", "429"}, f"{phase}: {row['statuses']}"
    assert not row["lost"], f"{phase}: {row['lost']} lost"
    assert row["memory"] <= MEMORY, f"{phase}: memory grew by {row['memory']} MB"
    found = {"C": round(capacity, 1), **{key: row[key] for key in ("offered", "answered", "statuses", "p99", "memory")}}
    more = {key: row[key] for key in ("refused_p99", "health") if key in row and phase == "overload"}
    return {**found, **more, "seconds": seconds, "passed": True}


CHECKS = ("fit", "predict", "disk", "disk-out", "rank", "overload", "soak")
FAULTS = {
    "fit": "T15",
    "predict": "M39",
    "disk": "T17",
    "disk-out": "M39",
    "rank": "T23",
    "overload": "S28",
    "soak": "S28",
}


def run(name: str, model: Path, asked: argparse.Namespace) -> Row:
    """Run one check and return its figures; AssertionError says what failed."""
    if name == "fit":
        return Kills("fit", FIT, fit_folder, "run/model.safetensors").run(asked.kills, asked.minutes)
    if name == "predict":
        return Kills("predict", PREDICT, predict_folder(model), "out.csv").run(asked.kills, asked.minutes)
    if name == "rank":
        return a_rank_dies(asked.minutes)
    if name in ("overload", "soak"):
        return served(model, name, asked.seconds)
    return full_disks(asked.minutes) if name == "disk" else full_outputs(model, asked.minutes)


def main() -> int:
    """Run what has not passed yet at this commit, and print a line for each check; return 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"{', '.join(CHECKS)} [all]")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60, help="of overload and of soak, each")
    parser.add_argument("--minutes", type=float, default=30, help="of a check, at most")
    parser.add_argument("--write", action="store_true", help="append to bench/results/faults.jsonl")
    asked = parser.parse_args()
    import filbert.cli
    import filbert.finetuning.fit
    import filbert.inference.engine
    import filbert.inference.kept  # noqa: F401  # loaded once, for all copies

    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        fit_folder(home := Path(scratch) / "home")
        whole(FIT, home)
        for name in asked.checks or CHECKS:
            before = next((row for row in kept_rows(name) if row.get("passed")), None)
            if before is not None:
                print(f"{name:<9} passed before at this commit", flush=True)
                continue
            began = time.monotonic()
            try:
                row = run(name, home / "run", asked)
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                print(f"{name:<9} FAILED {error}", flush=True)
                failed += 1
                continue
            figures = {"check": name, "fault": FAULTS[name], **row}
            if row["passed"]:
                keep(name, row)
            if asked.write:
                append(RESULTS, figures)
            told = ", ".join(f"{key} {value}" for key, value in row.items() if key != "passed")
            unfinished = "" if row["passed"] else "  (unfinished: run it again)"
            print(f"{name:<9} {told}, in {time.monotonic() - began:.0f} s{unfinished}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
