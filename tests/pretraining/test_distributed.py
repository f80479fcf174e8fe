"""Two processes train as one does, and a run goes on after one of them died."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pretrainings import corpus, logged, run, weights


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, corpus(folder))
    return folder


TWO = """
import sys, json
from pathlib import Path
sys.path.insert(0, {tests!r})
from pretrainings import CONFIG, corpus, run
import torch
torch.set_num_threads(1)
folder = Path(sys.argv[1])
run(folder, folder / "wiki.txt", CONFIG)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def two_processes_alone(script: Path, folder: Path) -> list[tuple[int, str]]:
    """Start both as torchrun does, without its own process, which takes as long to start as one of them."""
    told = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    told |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            env={**told, "RANK": rank, "LOCAL_RANK": rank},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    said = [each.communicate(timeout=300)[1] for each in both]
    return [(each.returncode, text) for each, text in zip(both, said, strict=True)]


def two_processes(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    port = free_port()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    return subprocess.run(
        [*command, "--master-port", str(port), str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_two_processes_follow_the_curve_of_one(whole, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO.format(tests=str(Path(__file__).parents[1])))
    corpus(tmp_path)
    ran = two_processes_alone(script, tmp_path)
    assert [code for code, _ in ran] == [0, 0], ran
    one, two = ([row for row in logged(folder) if "mlm_loss" in row] for folder in (whole, tmp_path))
    assert len(one) == len(two)
    assert two[0]["gradient_norm"] == pytest.approx(one[0]["gradient_norm"], rel=1e-3)  # summed, not averaged twice
    assert two[0]["mlm_loss"] == pytest.approx(one[0]["mlm_loss"], abs=1e-4)
    for a, b in zip(one, two, strict=True):
        assert b["mlm_loss"] == pytest.approx(a["mlm_loss"], abs=0.02)
        assert b["nsp_loss"] == pytest.approx(a["nsp_loss"], abs=0.02)
    first, second = weights(whole), weights(tmp_path)
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 0.05


DIES = (
    TWO.replace(
        "folder =",
        """
class Die:
    def say(self, text): ...
    def progress(self, stage, done, total, **figures):
        if stage == "training" and done > 0.3: os._exit(9)
folder =""",
    )
    .replace("CONFIG)", "CONFIG, watch=Die())")
    .replace("import sys, json", "import os, sys, json")
)


@pytest.mark.slow
def test_T23_a_process_that_dies_ends_the_run_and_the_run_goes_on_later(whole, tmp_path):
    script = tmp_path / "two.py"
    corpus(tmp_path)
    script.write_text(DIES.format(tests=str(Path(__file__).parents[1])))
    began = time.monotonic()
    assert two_processes(script, tmp_path).returncode != 0
    assert time.monotonic() - began < 60
    script.write_text(TWO.format(tests=str(Path(__file__).parents[1])))
    ran = two_processes(script, tmp_path)
    assert ran.returncode == 0, ran.stderr
    first, second = weights(whole), weights(tmp_path)
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 0.05
