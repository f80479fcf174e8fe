"""Killed while a checkpoint is written, as by `kill -9`: the same command goes on from the one before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from command import Run, write_texts

FIT = ["fit", "texts.csv", "-o", "run", "--base", "tiny", "--epochs", "1", "--batch-size", "8", "--no-baseline"]
FIT += ["--precision", "fp32", "--device", "cpu"]
KILLED = """
import os, sys, safetensors.torch
from filbert import cli
from filbert.training import loop
loop.CHECKPOINT_SECONDS = 0.0
real, left = safetensors.torch.save_file, 3  # files of tensors: best weights, a checkpoint, and the next one
def dying(tensors, path, **options):
    global left
    left -= 1
    real(tensors, path, **options)
    if not left:
        with open(path, "r+b") as file:
            file.truncate(os.path.getsize(path) // 2)
        os.kill(os.getpid(), 9)
safetensors.torch.save_file = dying
cli.run(sys.argv[1:])
"""


def test_T15_killed_in_the_middle_of_a_checkpoint(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.csv", 40)
    ran = subprocess.run([sys.executable, "-c", KILLED, *FIT], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    left = sorted(os.listdir(tmp_path / "run" / "checkpoints"))
    assert any(name.startswith(".filbert-draft-") for name in left), left
    assert any(name.startswith("step-") and name.endswith(".json") for name in left), left
    again = run(*FIT)
    assert again.code == 0, again.err
    assert "resumed at step" in again.err
    assert not list((tmp_path / "run").rglob(".filbert-draft-*"))
    assert run(*FIT, "-o", "whole").code == 0
    one, two = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "whole"))
    assert one == two
