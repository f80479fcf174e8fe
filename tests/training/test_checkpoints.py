"""Stopped, killed, damaged, out of disk: a resumed run ends with the weights of an uninterrupted one."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import CONFIG, STEPS, Job, interrupted, logged, loop, weights
from safetensors.torch import load_file
from small import same_weights
from torch import Tensor

from filbert.errors import ConfigError, Stopped
from filbert.training import checkpoints
from filbert.training import loop as loop_module
from filbert.training.checkpoints import newest_checkpoint
from filbert.training.loop import Loop


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Loop:
    """The run that nothing interrupts."""
    run = loop(tmp_path_factory.mktemp("whole"))
    run.run()
    return run


@pytest.mark.parametrize("step", [1, 6, 7, 12, 13, 24])
def test_T18_stopped_and_resumed_is_the_whole_run(whole, tmp_path, step):
    first = interrupted(tmp_path, step)
    assert first.result.steps == step
    torch.rand(5)
    second = loop(tmp_path)
    result = second.run()
    assert same_weights(weights(second), weights(whole))
    expected = whole.result
    assert (result.steps, result.tokens, result.best_step, result.best_score, result.epochs) == (
        expected.steps, expected.tokens, expected.best_step, expected.best_score, expected.epochs,
    )  # fmt: skip
    assert second.job.batches == STEPS - step
    untimed = [[{k: v for k, v in row.items() if "second" not in k} for row in logged(f)] for f in (
        tmp_path, whole.folder.parent)]  # fmt: skip
    assert untimed[0] == untimed[1]


def test_T18_stopped_in_every_step(whole, tmp_path):
    for step in range(1, STEPS + 1):
        assert interrupted(tmp_path, 1).result.steps == step
    last = loop(tmp_path)
    last.run()
    assert last.job.batches == 0
    assert same_weights(weights(last), weights(whole))


def test_T18_in_bf16_too(tmp_path):
    config = CONFIG.with_options(precision="bf16")
    runs = [loop(tmp_path / "a", config=config), loop(tmp_path / "b", config=config)]
    interrupted(tmp_path / "b", 8, config=config)
    for run in runs:
        run.run()
    assert same_weights(weights(runs[0]), weights(runs[1]))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_T18_a_signal_ends_the_run_after_its_step(tmp_path, number):
    before = signal.getsignal(number)
    run = loop(tmp_path, Job(lambda job, loss: os.kill(os.getpid(), number) if job.batches == 5 else None))
    with pytest.raises(Stopped) as stopped:
        run.run()
    assert stopped.value.number == number
    assert signal.getsignal(number) is before
    _, state = newest_checkpoint(run.folder)
    assert state["result"]["steps"] == 5


def test_T18_a_second_signal_ends_it_at_once(tmp_path):
    def twice(job: Job, loss: Tensor) -> None:
        if job.batches == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)

    run = loop(tmp_path, Job(twice))
    with pytest.raises(Stopped) as stopped:
        run.run()
    assert stopped.value.number == signal.SIGTERM  # and so is the exit code: 143
    assert newest_checkpoint(run.folder) is None


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 4]) + data[-8:])
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "missing"])
@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_T16_a_damaged_checkpoint_gives_way_to_the_one_before(whole, tmp_path, monkeypatch, suffix, how):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    first = interrupted(tmp_path, 9)
    assert sorted(path.name for path in first.folder.glob("step-*.json")) == [
        "step-00000008.json",
        "step-00000009.json",
    ]
    damage(first.folder / f"step-00000009{suffix}", how)
    second = loop(tmp_path)
    second.run()
    assert second.job.batches == STEPS - 8
    assert same_weights(weights(second), weights(whole))


@pytest.mark.parametrize(("old", "new"), [('"steps": 9', '"steps": 3'), ('"stopped"', '"storped"'), ("true", "false")])
def test_T16_a_changed_digit_or_key_is_seen(whole, tmp_path, monkeypatch, old, new):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    first = interrupted(tmp_path, 9)
    path = first.folder / "step-00000009.json"
    path.write_text(path.read_text().replace(old, new) if old in path.read_text() else "{}")
    second = loop(tmp_path)
    second.run()
    assert second.job.batches == STEPS - 8
    assert same_weights(weights(second), weights(whole))


def test_T16_damaged_best_weights_start_over_rather_than_give_other_weights(whole, tmp_path):
    first = interrupted(tmp_path, 9)
    damage(next(first.folder.glob("best-*")), "flipped")
    second = loop(tmp_path)
    second.run()
    assert second.job.batches == STEPS
    assert same_weights(weights(second), weights(whole))


def test_T16_new_checkpoints_outlive_damaged_ones_of_later_steps(tmp_path, monkeypatch):
    """Begun again beside two damaged checkpoints, a run must still keep what it saves."""
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    first = interrupted(tmp_path, 9)
    for path in first.folder.glob("step-*.safetensors"):
        damage(path, "truncated")
    interrupted(tmp_path, 3)
    found = newest_checkpoint(first.folder)
    assert found is not None
    assert found[1]["result"]["steps"] == 3


def test_T16_a_log_line_cut_short_is_no_reason_to_stop(whole, tmp_path):
    interrupted(tmp_path, 7)
    for cut in ('{"step": 7, "epo', '{"step": 7, "validation": {"loss": 1.0}'):
        with (tmp_path / "train.jsonl").open("a") as file:
            file.write(cut)
        second = loop(tmp_path)
        second.stop_signal = signal.SIGTERM
        with pytest.raises(Stopped):
            second.run()
        assert logged(tmp_path)[-1]["step"] == second.result.steps


def test_T15_half_written_files_are_not_taken_up(whole, tmp_path):
    first = interrupted(tmp_path, 9)
    (first.folder / "step-00000010.safetensors").write_bytes(b"half")
    second = loop(tmp_path)
    second.run()
    assert same_weights(weights(second), weights(whole))


def test_T17_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    first = interrupted(tmp_path, 4)
    before = newest_checkpoint(first.folder)

    def full(path: Path, tensors: Any) -> None:
        path.write_bytes(b"some")
        raise OSError(28, "No space left on device")

    second = loop(tmp_path)
    monkeypatch.setattr(checkpoints, "write_tensors", full)
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(OSError, match="No space"):
        second.run()
    assert newest_checkpoint(first.folder) == before


@pytest.mark.parametrize("changes", [{"batch_size": 8}, {"seed": 3}, {"learning_rate": 1e-5}, {"max_length": 99}])
def test_T21_changed_settings_are_refused_by_name(tmp_path, changes):
    interrupted(tmp_path, 4)
    ((name, value),) = changes.items()
    with pytest.raises(ConfigError, match=rf"{name}: {getattr(CONFIG, name)!r} → {value!r}"):
        loop(tmp_path, config=CONFIG.with_options(**changes)).run()


def test_T21_changed_data_is_refused(tmp_path):
    interrupted(tmp_path, 4)
    with pytest.raises(ConfigError, match="data: 'abc' → 'abd'"):
        loop(tmp_path, identity={"data": "abd", **asdict(CONFIG)}).run()


def test_a_checkpoint_holds_everything_and_no_more_than_two_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    run = interrupted(tmp_path, 9)
    path, state = newest_checkpoint(run.folder)
    assert path.name == "step-00000009.safetensors"
    assert state["result"]["steps"] == 9
    tensors = load_file(str(path))
    for name in run.masters.weights:
        assert {f"weight.{name}", f"exp_avg.{name}", f"exp_avg_sq.{name}", f"step.{name}"} <= tensors.keys()
    assert "random.0" in tensors
    assert len(list(run.folder.glob("step-*.safetensors"))) == len(list(run.folder.glob("step-*.json"))) == 2
