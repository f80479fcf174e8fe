"""A pre-training run that was stopped or killed ends, resumed, with the weights of an uninterrupted one."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pretrainings
import pytest
from pretrainings import START, Break, Stop, corpus, logged, weights
from small import same_weights

from filbert.bases.find import find_base
from filbert.config import PretrainConfig
from filbert.errors import ConfigError, Stopped
from filbert.pretraining.run import pretrain
from filbert.progress import Silent
from filbert.training import loop

CONFIG = pretrainings.CONFIG.with_options(epochs=1.3)  # thirteen steps


def run(folder: Path, source: Path, config: PretrainConfig = CONFIG, **options: Any) -> Any:
    return pretrainings.run(folder, source, config, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, corpus(folder))
    return folder


@pytest.mark.parametrize("line", ["learning a vocabulary", "wiki.txt: ", "model saved", "evaluating on held-out"])
def test_T18_broken_off_outside_of_training(whole, tmp_path, line):
    source = corpus(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source, watch=Break(line))
    run(tmp_path, source)
    assert same_weights(weights(tmp_path), weights(whole))
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    "changes", [{"vocabulary_size": 130}, {"position": "sinusoidal"}, {"size": "mini"}, {"random_init": True}]
)
def test_T21_another_start_is_refused(tmp_path, changes):
    source = corpus(tmp_path)
    with pytest.raises(Stopped):
        run(tmp_path, source, watch=Stop(3))
    with pytest.raises(ConfigError, match="start: "):
        pretrain([source], tmp_path / "out", start=replace(START, **changes), config=CONFIG)


@pytest.mark.parametrize("step", [7, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 12))])
def test_T18_stopped_and_resumed_is_the_whole_run(whole, tmp_path, step):
    source = corpus(tmp_path)
    with pytest.raises(Stopped):
        run(tmp_path, source, watch=Stop(step))
    assert not (tmp_path / "out" / "model.safetensors").exists()
    run(tmp_path, source)
    assert same_weights(weights(tmp_path), weights(whole))
    steps = [row["step"] for row in logged(tmp_path) if "mlm_loss" in row]
    assert steps == list(range(1, len(steps) + 1))


def test_muon_trains_and_resumes_exactly(tmp_path):
    config = CONFIG.with_options(optimizer="muon", epochs=1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    source = corpus(tmp_path)
    run(tmp_path / "a", source, config)
    with pytest.raises(Stopped):
        run(tmp_path / "b", source, config, watch=Stop(5))
    run(tmp_path / "b", source, config)
    assert same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert find_base(str(tmp_path / "a" / "out")).optimizer == "muon"  # what fit and adapt go on with


def test_T21_other_settings_are_refused(tmp_path):
    source = corpus(tmp_path)
    with pytest.raises(Stopped):
        run(tmp_path, source, watch=Stop(3))
    with pytest.raises(ConfigError, match=r"mask_rate: 0\.15 → 0\.3"):
        run(tmp_path, source, CONFIG.with_options(mask_rate=0.3))
    corpus(tmp_path, documents=61)
    with pytest.raises(ConfigError, match="corpus"):
        run(tmp_path, source)


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from pretrainings import CONFIG, run
from filbert.training import loop
from filbert.progress import Silent
loop.CHECKPOINT_SECONDS = 0.0
class Slow(Silent):
    def progress(self, *rest, **figures):
        time.sleep(0.05)
folder = Path(sys.argv[1])
run(folder, folder / "wiki.txt", CONFIG.with_options(optimizer=sys.argv[2], epochs=1.3), watch=Slow())
"""


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("muon", marks=pytest.mark.slow)])
def test_T15_killed_and_resumed_is_the_whole_run(whole, tmp_path, optimizer):
    config = CONFIG.with_options(optimizer=optimizer)
    (tmp_path / "killed").mkdir()
    corpus(tmp_path / "killed")
    if optimizer != "adamw":  # which the run is that all share
        (tmp_path / "whole").mkdir()
        whole = tmp_path / "whole"
        run(whole, corpus(whole), config)
    code = KILLED.format(tests=str(Path(__file__).parents[1]))
    at = tmp_path / "killed" / "out" / "checkpoints" / "step-00000005.json"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed"), optimizer]) as child:
        ends = time.monotonic() + 240
        while child.poll() is None and not at.exists() and time.monotonic() < ends:
            time.sleep(0.01)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "out" / "model.safetensors").exists()
    said: list[str] = []
    watch = Silent()
    watch.say = said.append  # type: ignore[method-assign]
    run(tmp_path / "killed", tmp_path / "killed" / "wiki.txt", config, watch=watch)
    assert any(line.startswith("resumed at step") for line in said)
    assert same_weights(weights(tmp_path / "killed"), weights(whole))


def test_checkpoints_come_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Stopped):
        run(tmp_path, corpus(tmp_path), watch=Stop(4))
    names = sorted(path.name for path in (tmp_path / "out" / "checkpoints").glob("step-*.json"))
    assert names == ["step-00000003.json", "step-00000004.json"]
