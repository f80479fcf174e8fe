"""S32 and S33: a new model in the old one's place, and an orderly end; both while requests come."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from serving import Running, request, running
from small import classifier, save

from filbert.errors import ModelError
from filbert.files import read_json, write_json
from filbert.folder.save import add_facts
from filbert.inference.engine import load
from filbert.inference.stored import stored

SHAPE = {"hidden": 64, "intermediate": 64}


def made(folder: Path, seed: int) -> Path:
    return save(folder, classifier(seed=seed, **SHAPE), columns={"inputs": [["text"]], "target": []})


@contextmanager
def asking(server: Running) -> Iterator[Counter[tuple[int, str]]]:
    """Ask all the time, and count what comes by status and version."""
    seen, stop = Counter[tuple[int, str]](), threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
            while not stop.is_set():
                answer = client.post("/predict", json={"inputs": [["good"], ["bad film"]]})
                seen[answer.status_code, answer.headers.get("x-model-version", "")] += 1

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def until(true: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_S32_a_new_model_takes_over_and_a_broken_one_does_not(tmp_path: Path) -> None:
    one, two = made(tmp_path / "one", 1), made(tmp_path / "two", 2)
    link = tmp_path / "films" / "current"
    link.parent.mkdir()
    link.symlink_to(one)

    def point_to(folder: Path) -> None:
        (tmp_path / "next").symlink_to(folder)
        os.replace(tmp_path / "next", link)

    with running([link]) as server, asking(server) as seen:
        assert list(server.server.models) == ["films"]
        counts, first = server.model.counts, server.model.ready.version
        until(lambda: seen[200, first] > 5)
        point_to(two)
        until(lambda: counts.reloads == 1)
        second = server.model.ready.version
        assert second != first
        until(lambda: seen[200, second] > 5)

        broken = tmp_path / "broken"
        shutil.copytree(one, broken)
        data = bytearray((broken / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (broken / "model.safetensors").write_bytes(data)
        point_to(broken)
        until(lambda: counts.failed_reloads == 1)

        half = tmp_path / "half"
        half.mkdir()
        for name in ("filbert.json", "config.json", "vocab.txt", "tokenizer_config.json"):
            shutil.copy(one / name, half)
        point_to(half)
        until(lambda: counts.failed_reloads == 2)
        assert server.post(inputs="good").headers["x-model-version"] == second
        for name in ("tokenizer.json", "model.safetensors"):  # and the rest arrives
            shutil.copy(one / name, half)
        until(lambda: counts.reloads == 2)
        assert server.model.ready.version == first
        before = seen[200, first]
        until(lambda: seen[200, first] > before + 5)
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {first, second}


def test_M38_a_model_that_answers_otherwise_is_not_served(tmp_path: Path) -> None:
    folder = made(tmp_path / "films", 1)
    texts = [("good film",), ("bad",), ("not a good film",)]
    add_facts(folder, {"stored": stored(load(folder, device="cpu"), texts)})
    with running([folder]) as server:
        assert server.ask("good")
    info = read_json(folder / "filbert.json")
    info["stored"]["numbers"][1][0] += 0.01
    write_json(folder / "filbert.json", info)
    with pytest.raises(ModelError, match="text 2 is answered otherwise"), running([folder]):
        pass


def test_S31_a_model_that_cannot_be_opened_again_fails_at_once(tmp_path: Path) -> None:
    folder = made(tmp_path / "films", 1)
    with running([folder]) as server:
        assert server.ask("good")
        (folder / "vocab.txt").rename(tmp_path / "vocab.txt")
        os.kill(server.model.line.worker.pid, signal.SIGKILL)
        until(lambda: server.post(inputs="good").status_code == 503 and not server.model.up)
        until(lambda: server.model.counts.restarts > 0)
        began = time.monotonic()
        assert server.post(inputs="good").status_code == 503
        assert time.monotonic() - began < 3
        assert server.client.get("/health").status_code == 503
        (tmp_path / "vocab.txt").rename(folder / "vocab.txt")
        until(lambda: server.client.get("/health").status_code == 200)
        assert server.ask("good")


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is not a folder"), running([tmp_path / "none"]):
        pass
    folder = made(tmp_path / "films", 1)
    with pytest.raises(ModelError, match="two models are called 'films'"), running([folder, folder]):
        pass


@contextmanager
def command(*words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `filbert serve` as a process of its own, and say its address once it is there."""
    line = [sys.executable, "-m", "filbert", "serve", *map(str, words), "--port", "0", "--device", "cpu"]
    ran = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert ran.stderr is not None
    said = ""
    try:
        while not said.startswith("http"):
            said = ran.stderr.readline().strip()
            assert said, "the server ended"
        yield ran, said
    finally:
        ran.kill()
        ran.wait()
        ran.stderr.close()


def test_S33_the_server_answers_what_it_has_and_ends(folder: Path) -> None:
    with command(folder) as (ran, url):
        port = int(url.rsplit(":", 1)[1])
        server = Running(None, url, None)  # type: ignore[arg-type]
        body = request({"inputs": [["good film"]] * 100})
        stalled = [server.raw(b"POST /predict HTTP/1.1\r\nhost: loc"), server.raw(b"")]
        with server.raw(body[:-10]) as late, httpx.Client(base_url=url, trust_env=False) as idle:
            assert idle.get("/health").status_code == 200
            os.kill(ran.pid, signal.SIGHUP)
            assert idle.post("/predict", json={"inputs": "a"}).status_code == 200
            began = time.monotonic()
            ran.terminate()
            time.sleep(0.5)
            late.sendall(body[-10:])
            assert late.recv(1 << 16).startswith(b"HTTP/1.1 200")
            assert ran.wait(25) == 0
            assert time.monotonic() - began < 25
            with pytest.raises(OSError, match="refused"):
                server.raw(b"x")
        assert port
        for each in stalled:
            each.close()


def test_S33_the_command_refuses_an_address_without_a_key(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = [sys.executable, "-m", "filbert", "serve", str(folder), "--host", "0.0.0.0", "--port", "0"]
    ran = subprocess.run(line, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert ran.returncode == 2
    assert "--api-key-file" in ran.stderr


def test_no_process_stays_when_the_server_is_killed(folder: Path) -> None:
    with command(folder) as (ran, url):
        assert httpx.post(f"{url}/predict", content=json.dumps({"inputs": "a"}), trust_env=False).status_code == 200
        children = Path(f"/proc/{ran.pid}/task/{ran.pid}/children").read_text().split()
        ran.kill()
        ran.wait()
        until(
            lambda: (
                not any(
                    Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
                    for pid in children
                )
            ),
            10,
        )
