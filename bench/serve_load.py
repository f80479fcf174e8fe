"""The server under load, on loopback and bounded: how many requests/s within 100 ms, and what too many do to it.

Open loop: requests come at random times at a given rate whatever the server does, and a latency counts from when the
request should have been sent, so that a stall is seen by all whom it would have kept waiting.

    rate      the most requests/s with p99 ≤ 100 ms, beside FastAPI with a `transformers` pipeline on the same model,
              and beside infinity-emb where `--infinity` says where its command is (an environment of its own)
    steady    0.7 C for ten minutes: no error, p99 ≤ 1 s and ≤ 10 × the latency of a lone request
    overload  3 C for five minutes: answered ≥ 0.85 C, only 200 and 429, refused and health ≤ 100 ms, memory + ≤ 64 MB
    slow      200 slow and 1,000 idle clients at 0.5 C: no error for the others
    reload    20 new models at 0.5 C: none failed
    soak      0.7 C for an hour: memory + ≤ 5 MB/h (only where it is named)

C is the texts/s of `Engine.predict` on the same texts, measured just before. What is done is kept in bench/work/ and
not done again at the same commit; --quick takes seconds each and says only that all of it works.

    bench/.venv/bin/python bench/serve_load.py [sst2|imdb …] [--model FOLDER] [--precision int8] [--only rate …]
        [--quick] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from records import DATA, HERE, append, commit, read

RESULTS, WORK = HERE / "results" / "serve_load.jsonl", HERE / "work" / "serve_load.jsonl"
SETS = {"imdb": "imdb/aclImdb_labeled.tar.xz", "sst2": "sst2"}
PHASES = ("rate", "steady", "overload", "slow", "reload", "soak")
WITHIN = 0.1  # seconds, of p99
SECONDS = {"rate": 10, "steady": 600, "overload": 300, "slow": 60, "reload": 60, "soak": 3600}
QUICK = 3
SLOW, IDLE, RELOADS = 200, 1_000, 20
CONNECTIONS = 512  # that wait for an answer at once, at most; beyond it a request counts as failed
PORT = 18_080
STARTING = 300  # seconds that a server may take to open a model, beside other work
Row = dict[str, Any]


@dataclass
class Load:
    """What came of a load: seconds by status, from when each request should have been sent."""

    offered: float
    seconds: dict[int, list[float]] = field(default_factory=dict)
    lost: int = 0
    took: float = 0.0

    def add(self, status: int, latency: float) -> None:
        """Count an answer."""
        self.seconds.setdefault(status, []).append(latency)

    def row(self) -> Row:
        """Return rates, statuses and percentiles."""
        good = np.array(self.seconds.get(200) or [9e9])
        refused = np.array(self.seconds.get(429, [0.0]))
        return {
            "offered": round(self.offered, 2),
            "answered": round(len(self.seconds.get(200, ())) / max(self.took, 1e-9), 2),
            "statuses": {str(status): len(found) for status, found in sorted(self.seconds.items())},
            "lost": self.lost,
            **{f"p{q}": round(float(np.percentile(good, q)), 4) for q in (50, 99)},
            "refused_p99": round(float(np.percentile(refused, 99)), 4),
        }

    def good(self) -> bool:
        """Say whether all was answered, and in time."""
        return set(self.seconds) == {200} and not self.lost and self.row()["p99"] <= WITHIN


class Client:
    """Keep-alive connections to a server, as many as are needed."""

    def __init__(self, port: int) -> None:
        self.port, self.idle, self.busy = port, list[tuple[asyncio.StreamReader, asyncio.StreamWriter]](), 0

    async def ask(self, data: bytes) -> int:
        """Send the bytes of a request and return the status; 0 where the connection broke.

        One that was kept may have been closed by the server meanwhile: then a new one is asked, as HTTP clients do.
        """
        status = await self._ask(data, self.idle.pop()) if self.idle else 0
        return status or await self._ask(data, await asyncio.open_connection("127.0.0.1", self.port))

    async def _ask(self, data: bytes, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> int:
        reader, writer = connection
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(next(line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")))
            await reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return 0
        self.idle.append((reader, writer))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close what is open."""
        for _, writer in self.idle:
            writer.close()


async def load(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Send requests at random times, `rate` a second, and wait for all answers."""
    client, found, draw = Client(port), Load(rate), random.Random(0)
    tasks = set[asyncio.Task[None]]()

    async def one(due: float, data: bytes) -> None:
        client.busy += 1
        try:
            status = await client.ask(data)
        except OSError:
            status = 0
        client.busy -= 1
        found.add(status, time.perf_counter() - due)

    began = due = time.perf_counter()
    while (due := due + draw.expovariate(rate)) < began + seconds:
        if (left := due - time.perf_counter()) > 0:
            await asyncio.sleep(left)
        if client.busy >= CONNECTIONS:
            found.lost += 1
            continue
        task = asyncio.create_task(one(due, draw.choice(requests)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=40)
    found.took = time.perf_counter() - began
    client.close()
    return found


def post(text: str, *, infinity: bool = False) -> bytes:
    body = json.dumps({"model": "m", "input": [text]} if infinity else {"inputs": text}).encode()
    path = "/classify" if infinity else "/predict"
    head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


@contextlib.contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[int]:
    """Run a server until the end of the block and give its process id, once it is well."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE.parent), os.environ.get("PYTHONPATH", "")))}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + STARTING
        while asyncio.run(status_of(port, "/health")) != 200:
            assert process.poll() is None, f"{' '.join(command)} ended"
            assert time.monotonic() < deadline, f"{' '.join(command)} does not answer"
            time.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:  # a rival that still computes what nobody waits for
            process.kill()
            process.wait()


async def status_of(port: int, path: str) -> int:
    client = Client(port)
    try:
        return await client.ask(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
    except OSError:
        return 0
    finally:
        client.close()


def memory(pid: int) -> float:
    """Return the MB of a process and its children."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * 4096 / 2**20 + sum(memory(int(child)) for child in children)
    return 0.0


def most(port: int, requests: Sequence[bytes], guess: float, seconds: float) -> Row:
    """Return the load at the highest rate that stays within 100 ms, to a twentieth."""

    def tried(rate: float) -> Load:
        found = asyncio.run(load(port, requests, rate, seconds))
        print(f"  {rate:,.1f}/s: p99 {1000 * found.row()['p99']:.0f} ms, {found.row()['statuses']}", flush=True)
        return found

    tried(max(1.0, guess / 4))  # warm
    rate, best, low, high = guess / 2, None, 0.0, float("inf")
    while high / max(low, 1e-9) > 1.05 and rate > 1:
        found = tried(rate)
        if found.good():
            low, best = rate, found
        else:
            high = rate
        rate = (low + high) / 2 if low and high < float("inf") else (rate * 1.5 if low else rate / 2)
    return best.row() if best else Load(0.0).row()


async def overload(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> tuple[Load, float]:
    """Return a load and the slowest answer to /health meanwhile."""
    slowest, done = 0.0, False

    async def probe() -> None:
        nonlocal slowest
        while not done:
            began = time.perf_counter()
            assert await status_of(port, "/health") == 200
            slowest = max(slowest, time.perf_counter() - began)
            await asyncio.sleep(0.5)

    probing = asyncio.create_task(probe())
    found = await load(port, requests, rate, seconds)
    done = True
    await probing
    return found, slowest


async def with_slow_clients(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Return a load beside 200 clients that send a byte a second and 1,000 silent ones; all come again when cut."""
    stop = asyncio.Event()

    async def slow(number: int) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                data = requests[number % len(requests)] if number < SLOW else b""
                for byte in data:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(1)
                    if stop.is_set() or writer.is_closing():
                        break
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), 5)
                writer.close()

    tasks = [asyncio.create_task(slow(n)) for n in range(SLOW + IDLE)]
    await asyncio.sleep(1)
    found = await load(port, requests, rate, seconds)
    stop.set()
    await asyncio.wait(tasks, timeout=10)
    return found


async def with_reloads(port: int, requests: Sequence[bytes], rate: float, pid: int, *, times: int) -> Load:
    """Return a load while the model is opened again and again."""
    loading = asyncio.create_task(load(port, requests, rate, 3.0 * times))
    for _ in range(times):
        await asyncio.sleep(2.5)
        os.kill(pid, signal.SIGHUP)
    return await loading


@dataclass(frozen=True)
class Subject:
    """A model, its texts, and how fast they are scored in a batch."""

    name: str
    folder: Path
    precision: str
    texts: list[str]
    capacity: float

    @property
    def requests(self) -> list[bytes]:
        """The texts as requests."""
        return [post(text) for text in self.texts]

    def command(self) -> list[str]:
        """Return the words that serve it."""
        words = [sys.executable, "-m", "filbert", "serve", str(self.folder), "--port", str(PORT)]
        return [*words, "--precision", self.precision, "--device", "cpu"]


def infinity_of(command: str, folder: Path, port: int) -> list[str]:
    """Return the words that serve a model with infinity-emb, in fp32."""
    words = [command, "v2", "--model-id", str(folder), "--served-model-name", "m", "--engine", "torch"]
    words += ["--device", "cpu", "--dtype", "float32", "--no-bettertransformer", "--no-compile"]
    return [*words, "--no-model-warmup", "--host", "127.0.0.1", "--port", str(port)]


def measured(subject: Subject, phase: str, seconds: float, infinity: str | None = None) -> list[Row]:
    """Run one phase and return its records."""
    rows, capacity, requests = list[Row](), subject.capacity, subject.requests
    if phase == "rate":
        with serving(subject.command(), PORT):
            rows.append({"side": "filbert", **most(PORT, requests, capacity, seconds)})
        if importlib.util.find_spec("fastapi"):
            rival = [sys.executable, str(HERE / "rival_server.py"), str(subject.folder), str(PORT + 1)]
            with serving(rival, PORT + 1):
                rows.append({"side": "fastapi", **most(PORT + 1, requests, capacity / 10, seconds)})
        if infinity:
            asked = [post(text, infinity=True) for text in subject.texts]
            with serving(infinity_of(infinity, subject.folder, PORT + 2), PORT + 2):
                rows.append({"side": "infinity", **most(PORT + 2, asked, capacity / 10, seconds)})
        return rows
    with serving(subject.command(), PORT) as pid:
        asyncio.run(load(PORT, requests, capacity / 4, 2))
        lone = [asyncio.run(load(PORT, requests[:1], 2.0, 2)).row()["p50"]]
        before, more = memory(pid), dict[str, Any]()
        if phase == "overload":
            found, slowest = asyncio.run(overload(PORT, requests, 3 * capacity, seconds))
            more["health"] = round(slowest, 4)
        elif phase == "slow":
            found = asyncio.run(with_slow_clients(PORT, requests, capacity / 2, seconds))
        elif phase == "reload":
            times = RELOADS if seconds > QUICK else 2
            found = asyncio.run(with_reloads(PORT, requests, capacity / 2, pid, times=times))
        else:
            found = asyncio.run(load(PORT, requests, 0.7 * capacity, seconds))
        more |= {"lone": lone[0], "memory": round(memory(pid) - before, 1)}
    return [{"side": "filbert", **found.row(), **more}]


def subject_of(name: str, folder: Path, precision: str, texts: int) -> Subject:
    """Draw texts of a set's test part, and score them in a batch to know the capacity."""
    from filbert.finetuning.dataset import read_dataset
    from filbert.inference.engine import load as open_engine

    examples = read_dataset(DATA / SETS[name]).splits.test[:texts]
    given, engine = [example.inputs for example in examples], open_engine(folder, device="cpu", precision=precision)
    engine.predict(given[:32])
    began = time.perf_counter()
    engine.predict(given)
    capacity = len(given) / (time.perf_counter() - began)
    print(f"{name}: C = {capacity:,.1f} texts/s in {precision}", flush=True)
    return Subject(name, folder, precision, [each[0] for each in given], capacity)


def model_for(name: str, given: Path | None, scratch: Path) -> Path:
    """Return a copy of the model, so that reloading touches nobody else's."""
    if given is None:
        from predict_speed import model_of

        given = model_of(name, "minilm", scratch)
    return Path(shutil.copytree(given, scratch / name, ignore=shutil.ignore_patterns("checkpoints")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--model", type=Path, help="the one of bench/accuracy.py by default")
    parser.add_argument("--precision", default="fp32", help="of ours; the rival scores in fp32")
    parser.add_argument("--only", nargs="+", choices=PHASES, default=PHASES[:-1])
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--infinity", metavar="COMMAND", help="infinity_emb, to be measured beside the others")
    parser.add_argument("--quick", action="store_true", help="seconds each, kept nowhere")
    parser.add_argument("--write", action="store_true", help="append to bench/results/serve_load.jsonl")
    arguments = parser.parse_args()
    for name in arguments.sets or SETS:
        done = Counter((row["set"], row["phase"], row["precision"], row["commit"]) for row in read(WORK))
        phases = [p for p in arguments.only if arguments.quick or not done[name, p, arguments.precision, commit()]]
        if not phases:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            folder = model_for(name, arguments.model, Path(scratch))
            subject = subject_of(name, folder, arguments.precision, 64 if arguments.quick else arguments.texts)
            for phase in phases:
                for row in measured(subject, phase, QUICK if arguments.quick else SECONDS[phase], arguments.infinity):
                    row = {
                        "set": name,
                        "phase": phase,
                        "precision": subject.precision,
                        "C": round(subject.capacity, 1),
                        **row,
                    }
                    print(json.dumps(row), flush=True)
                    if not arguments.quick:
                        append(WORK, row)
                    if arguments.write and not arguments.quick:
                        append(RESULTS, row)


if __name__ == "__main__":
    main()
