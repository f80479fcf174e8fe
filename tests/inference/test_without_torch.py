"""Scoring where nothing of training is installed: the same answers, and one sentence where torch is needed."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from finished import TARGETS, inputs
from finished import run as fitted

from filbert.inference.engine import load
from filbert.inference.onnx_scorer import installed
from filbert.inference.rows import cells
from filbert.model.native_encoder import library
from filbert.tasks import TASKS

TRAINING = ("torch", "sklearn", "scipy", "pyarrow", "datasketch", "threadpoolctl", "joblib", "transformers", "onnx")
Light = Callable[..., "subprocess.CompletedProcess[str]"]
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({TRAINING!r}))"
needs_a_scorer = pytest.mark.skipif(
    library() is None and not installed("onnxruntime"), reason="neither C++ nor onnxruntime can score here"
)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a process that cannot import what `filbert[train]` has, nor can those that it starts."""
    blocker = tmp_path / "site"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(BLOCK)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(blocker), str(ROOT), *sys.path])}


@pytest.fixture
def light(environment: dict[str, str], tmp_path: Path) -> Light:
    """Return a function that runs a command there."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "filbert", *map(str, words)]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def table(path: Path, name: str, count: int = 12) -> list[tuple[str, ...]]:
    rows = inputs(count, name)
    columns = ("question", "context") if name == "question-answering" else ("text",)
    target = {"question-answering": "answer", "summarization": "summary", "multi-label": "labels"}.get(name, "label")
    with path.open("w", encoding="utf-8", newline="") as file:
        write = csv.writer(file).writerow
        write([*columns, target])
        for n, row in enumerate(rows):
            given = TARGETS[name][n % 4]
            write([*row, "|".join(given) if name == "multi-label" else given or ""])
    return rows


@needs_a_scorer
@pytest.mark.parametrize("name", TASKS)
def test_every_task_answers_without_torch_as_with_it(light: Light, name: str, tmp_path: Path) -> None:
    folder = fitted(name).folder
    rows = table(tmp_path / "new.csv", name)
    ran = light("predict", folder, "new.csv", "-o", "out.jsonl")
    assert ran.returncode == 0, ran.stderr
    engine = load(folder)
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    for row, prediction in zip(found, engine.predict(rows), strict=True):
        for key, cell in cells(engine, prediction).items():
            got = row.get(f"predicted_{key}", row[key])
            same = pytest.approx(cell, abs=1e-5, rel=1e-5) if isinstance(cell, float) else json.loads(json.dumps(cell))
            assert got == same, key
    ran = light("evaluate", folder, "new.csv", "--json")
    assert ran.returncode == 0, ran.stderr


@needs_a_scorer
@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (("fit", "new.csv"), "fit — needs torch — pip install 'filbert[train]'"),
        (("pretrain", "new.csv"), "pretrain — needs torch — pip install 'filbert[train]'"),
        (("predict", "{model}", "new.csv", "--device", "cuda"), "predict — needs torch — pip install"),
        (("explain", "{model}", "a good film"), "explain — needs torch — pip install 'filbert[train]'"),
        (
            ("predict", "{model}", "new.csv", "-o", "out.parquet"),
            "Parquet needs pyarrow — pip install 'filbert[parquet]'",
        ),
        (("predict", "{model}", "new.parquet"), "format — is Parquet, for which pyarrow is not installed"),
    ],
)
def test_what_needs_more_says_so_in_one_sentence(
    light: Light, words: tuple[str, ...], needed: str, tmp_path: Path
) -> None:
    table(tmp_path / "new.csv", "single-label")
    (tmp_path / "new.parquet").write_bytes(b"PAR1" + bytes(600))
    given = [word.format(model=fitted("single-label").folder) for word in words]
    ran = light(*given)
    assert ran.returncode == 2, ran.stderr
    assert needed in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_estimators_say_what_they_need(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", "from filbert import TextClassifier"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "TextClassifier — needs sklearn — pip install 'filbert[train]'" in ran.stderr


@needs_a_scorer
def test_models_are_served_without_torch(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("single-label", "question-answering"):
        (tmp_path / name).symlink_to(fitted(name).folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    url = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "filbert",
        "serve",
        "single-label",
        "question-answering",
        "--port",
        url[-5:].strip(":"),
    ]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) as server:
        try:
            for _ in range(600):
                with contextlib.suppress(httpx.TransportError):
                    if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                        break
                assert server.poll() is None, server.stderr and server.stderr.read()
                time.sleep(0.1)
            for name in ("single-label", "question-answering"):
                (asked,) = inputs(1, name)
                told = httpx.post(
                    f"{url}/models/{name}/predict", json={"inputs": [list(asked)], "details": True}, trust_env=False
                ).json()
                engine = load(fitted(name).folder)
                (prediction,) = engine.predict([asked])
                want = cells(engine, prediction)
                (found,) = told
                for key, cell in want.items():
                    if isinstance(cell, float):
                        assert found["row"][key] == pytest.approx(cell, abs=1e-5), key
        finally:
            server.terminate()
