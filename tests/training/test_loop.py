"""The loop: what it plans, what it steps, and that nothing stops it from arriving at the same weights."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import classifier, rows, same_weights
from torch import Tensor, nn

from filbert.config import TrainConfig
from filbert.errors import ConfigError, TrainingError
from filbert.finetuning.job import TextFeed
from filbert.model.encoder import sinusoids
from filbert.model.network import cross_entropy
from filbert.model.packing import shuffled
from filbert.model.run import outputs
from filbert.records import Features
from filbert.training import loop as train
from filbert.training.loop import Interrupted, Loop, measure_speed, newest_checkpoint
from filbert.training.optimizer import Masters, default_learning_rate, parameter_groups, schedule
from filbert.training.plan import LENGTHS, PROBE_SECONDS, RESERVE, Plan, default_epochs, plan

TEXTS = 22  # in batches of 4: six steps an epoch, the last one of two texts
CONFIG = TrainConfig(batch_size=4, precision="fp32", learning_rate=3e-3, epochs=4, patience=99)
STEPS = 24
FEATURES = rows([5 + i % 9 for i in range(TEXTS)], targets=[i % 3 for i in range(TEXTS)])
EARLY = [replace(row, ids=row.ids[:7], segments=row.segments[:7]) for row in FEATURES]  # for the first half


class Job:
    """Three classes of random words; a hook hears of every batch and may change its loss."""

    losses = ("loss",)
    keep = ("pooler", "classifier")

    def __init__(self, hook: Callable[[Job, Tensor], Tensor | None] | None = None, seed: int = 0, **changes: Any):
        self.model: nn.Module = classifier(seed=seed, **changes)
        self.hook = hook
        self.batches = self.validations = 0

    def loss(self, batch, tensors) -> Tensor:
        self.batches += 1
        loss = cross_entropy(self.model(*tensors), torch.as_tensor(batch.targets_B).long())
        changed = self.hook(self, loss) if self.hook else None
        return loss if changed is None else changed

    def units(self, batch) -> tuple[int, ...]:
        return (len(batch.order_B),)

    def validate(self):
        self.validations += 1
        logits_NC = torch.as_tensor(outputs(self.model, FEATURES, "cpu"))
        targets_N = torch.tensor([row.target for row in FEATURES])
        loss = cross_entropy(logits_NC, targets_N).item() / TEXTS
        return (-loss,), {"loss": loss}


def feed(config: TrainConfig = CONFIG, early: Sequence[Features] | None = EARLY) -> TextFeed:
    return TextFeed(FEATURES, early, config.batch_size, config.tokens_per_batch, config.seed)


def loop(folder: Path, job: Job | None = None, config: TrainConfig = CONFIG, **changes: Any) -> Loop:
    settings: dict[str, Any] = {
        "feed": feed(config),
        "plan": Plan(config.epochs or 1, config.max_length),
        "layers": 2,
        "rate": config.learning_rate,
        "folder": folder / "checkpoints",
        "identity": {"data": "abc", **asdict(config)},
    }
    return Loop(job or Job(), config=config, **{**settings, **changes})


def weights(run: Loop) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in run.job.model.state_dict().items()}


def stop_at(step: int, holder: list[Loop]) -> Callable[[Job, Tensor], None]:
    """A hook that asks the loop to stop, as a signal would, in the given step (from 1)."""

    def hook(job: Job, loss: Tensor) -> None:
        if job.batches == step:
            holder[0].stop_signal = signal.SIGTERM

    return hook


def interrupted(folder: Path, step: int, **changes: Any) -> Loop:
    holder: list[Loop] = []
    holder.append(loop(folder, Job(stop_at(step, holder)), **changes))
    with pytest.raises(Interrupted) as stopped:
        holder[0].run()
    assert stopped.value.number == signal.SIGTERM
    return holder[0]


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Loop:
    """The run that nothing interrupts."""
    run = loop(tmp_path_factory.mktemp("whole"))
    run.run()
    return run


# -- schedule and plan ------------------------------------------------------------------------------------------------


def test_schedule_rises_and_falls_in_straight_lines():
    factors = [schedule(i / 1000, 0.06) for i in range(1001)]
    assert factors[0] == 0
    assert factors[60] == 1 == max(factors)
    assert factors[30] == pytest.approx(0.5)
    assert factors[530] == pytest.approx(0.5)
    assert factors[1000] == 0
    assert np.abs(np.diff(factors, 2)[:58]).max() < 1e-12
    assert np.abs(np.diff(factors, 2)[62:]).max() < 1e-12
    assert schedule(0, 0) == 1
    assert schedule(1.7, 0.06) == 0


def test_default_learning_rate():
    assert default_learning_rate(384) == 1e-4
    assert default_learning_rate(256) == pytest.approx(4e-4, rel=0.02)
    assert default_learning_rate(128) == 5e-4
    assert default_learning_rate(768) == pytest.approx(3e-5, rel=0.02)
    assert default_learning_rate(128, random_start=True) == 5e-4
    assert default_learning_rate(256, optimizer="muon") == default_learning_rate(128, optimizer="muon") == 1e-3
    assert default_learning_rate(512, optimizer="muon") == 5e-4


def test_default_epochs():
    assert [default_epochs(texts, 2) for texts in (10, 5_000, 13_000, 30_000, 10**6)] == [8, 6, 2, 1, 1]
    assert default_epochs(15_000, 150) > default_epochs(15_000, 2)


def never() -> float:
    raise AssertionError("nothing to measure without a deadline")


def test_no_deadline_asks_no_measure():
    assert plan(TrainConfig(epochs=2.5, max_length=100), [10], 2, never) == Plan(2.5, 100)
    assert plan(TrainConfig(), [10] * 30_000, 2, never) == Plan(1, 512)


def test_the_first_half_is_short_where_that_saves_anything():
    assert plan(TrainConfig(epochs=2), LONG, 2, never) == Plan(2, 512, early_length=128)
    assert plan(TrainConfig(epochs=1.9), LONG, 2, never).early_length is None
    assert plan(TrainConfig(epochs=2, max_length=128), LONG, 2, never).early_length is None
    assert plan(TrainConfig(epochs=2), [128] * 99, 2, never).early_length is None
    assert plan(TrainConfig(epochs=2, early_length=64), [65], 2, never).early_length == 64


LONG = [100] * 500 + [400] * 500  # 250,000 tokens
ABLE = 600 * (1 - RESERVE) - PROBE_SECONDS  # seconds of training in ten minutes


@pytest.mark.parametrize(
    ("tokens", "crop"), [(10**9, 512), (250_000, 512), (242_000, 384), (200_000, 256), (130_000, 128), (1_000, 64)]
)
def test_a_deadline_chooses_the_longest_crop_that_shows_each_text_once(tokens, crop):
    found = plan(TrainConfig(minutes=10, epochs=3), LONG, 2, lambda: tokens / ABLE + 1e-6)
    assert (found.max_length, found.seconds) == (crop, 600 - PROBE_SECONDS)
    assert (found.epochs >= 1) == (tokens > 1_000)
    assert found.epochs <= 3
    assert f"cut at {crop}" in found.reason


@pytest.mark.parametrize("tokens", [250_000, 300_000, 370_000, 500_000, 620_000, 10**6, 10**9])
def test_a_deadline_holds_the_epochs_it_promises(tokens):
    found = plan(TrainConfig(minutes=10, epochs=4), LONG, 2, lambda: tokens / ABLE + 1e-6)
    short = sum(min(length, found.early_length or found.max_length) for length in LONG)
    assert found.epochs / 2 * (short + sum(LONG)) <= tokens + 1
    assert (found.early_length == 128) == (found.epochs >= 2)


def test_a_deadline_never_crops_above_the_longest_allowed():
    for longest in (100, 40):
        assert plan(TrainConfig(minutes=10, max_length=longest), LONG, 2, lambda: 1e9).max_length == longest
    assert plan(TrainConfig(minutes=10, max_length=100), LONG, 2, lambda: 1.0).max_length == min(LENGTHS)


def test_a_deadline_shorter_than_the_measuring_is_still_a_plan():
    found = plan(TrainConfig(minutes=0.01), LONG, 2, lambda: 1000.0)
    assert found.epochs > 0
    assert "-" not in found.reason.replace("e-", "")


# -- masters ----------------------------------------------------------------------------------------------------------


def test_masters_keep_what_bf16_loses():
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].weight.data.fill_(1.0)
    masters = Masters(model, torch.bfloat16)
    assert model[0].weight.dtype == torch.bfloat16
    for _ in range(100):
        masters.weights["0.weight"].add_(1e-4)
        masters.give_back()
    assert masters.weights["0.weight"].mean().item() == pytest.approx(1.01, abs=1e-5)
    assert model[0].weight.float().mean().item() == pytest.approx(1.01, abs=0.004)
    assert (model[0].weight != 1).all()
    bare = torch.ones(4, dtype=torch.bfloat16)
    for _ in range(100):
        bare.add_(1e-4)
    assert (bare == 1).all()  # which is why
    masters.to_fp32()
    assert torch.equal(model[0].weight, masters.weights["0.weight"])
    assert model[0].weight.dtype == torch.float32


def test_masters_keep_heads_in_fp32_and_take_gradients():
    job = Job()
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    masters = Masters(job.model, torch.bfloat16, keep=("pooler", "classifier"))
    assert {p.dtype for p in job.model.encoder.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in (*job.model.pooler.parameters(), *job.model.classifier.parameters())} == {torch.float32}
    for p in job.model.parameters():
        p.grad = torch.ones_like(p)
    masters.collect()
    assert all((weight.grad == 1).all() and weight.grad.dtype == torch.float32 for weight in masters.weights.values())
    assert all(p.grad is None for p in job.model.parameters())
    masters.to_fp32()
    assert same_weights(job.model.state_dict(), before)


def test_masters_leave_fixed_positions_exact():
    """The sinusoidal table is no weight, but it goes to bf16 with the rest: it must come back as it was."""
    model = classifier(position="sinusoidal")
    model.encoder.embeddings.position.weight.data.copy_(sinusoids(64, 8))
    Masters(model, torch.bfloat16, keep=("pooler", "classifier")).to_fp32()
    assert torch.equal(model.encoder.embeddings.position.weight, sinusoids(64, 8))


def test_parameter_groups_by_depth_and_decay():
    masters = Masters(Job().model, torch.float32)
    config = TrainConfig(layer_decay=0.5, weight_decay=0.1)
    peak, decay = {}, {}
    names = {id(weight): name for name, weight in masters.weights.items()}
    for group in parameter_groups(masters, 2, config, 1.0):
        for weight in group["params"]:
            peak[names[id(weight)]], decay[names[id(weight)]] = group["peak"], group["weight_decay"]
    assert peak.keys() == masters.weights.keys()
    for name in peak:
        expected = 1.0
        if "embeddings" in name:
            expected = 0.125
        elif "layers.0" in name:
            expected = 0.25
        elif "layers.1" in name:
            expected = 0.5
        assert peak[name] == expected, name
        assert decay[name] == (0.0 if "norm" in name or name.endswith("bias") else 0.1), name


def test_a_part_can_have_a_rate_of_its_own():
    masters = Masters(Job().model, torch.float32)
    names = {id(weight): name for name, weight in masters.weights.items()}
    groups = parameter_groups(masters, 2, TrainConfig(), 2e-5, {"classifier": 2e-4})
    peaks = {names[id(weight)]: group["peak"] for group in groups for weight in group["params"]}
    assert {name for name, peak in peaks.items() if peak == 2e-4} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert {peak for name, peak in peaks.items() if "classifier" not in name} == {2e-5}


def test_without_layer_decay_every_rate_is_the_peak():
    groups = parameter_groups(Masters(Job().model, torch.float32), 2, TrainConfig(), 2e-5)
    assert {group["peak"] for group in groups} == {2e-5}


# -- the run ----------------------------------------------------------------------------------------------------------


def test_a_run_learns_and_counts(whole):
    result = whole.result
    assert (result.steps, result.epochs) == (STEPS, 4.0)
    halves = [EARLY] * (STEPS // 2) + [FEATURES] * (STEPS // 2)
    orders = [shuffled(TEXTS, 0, n // 6)[n % 6 * 4 : n % 6 * 4 + 4] for n in range(STEPS)]
    assert result.tokens == sum(len(half[i]) for half, order in zip(halves, orders, strict=True) for i in order)
    log = logged(whole.folder.parent)
    assert [row["step"] for row in log if "loss" in row] == list(range(1, STEPS + 1))
    assert [row["step"] for row in log if "validation" in row] == [6, 12, 18, 24]
    losses = [row["validation"]["loss"] for row in log if "validation" in row]
    assert losses[-1] < losses[0]
    rates = [row["learning_rate"] for row in log if "loss" in row]
    assert rates == pytest.approx([3e-3 * schedule((i + 0.5) / STEPS, 0.06) for i in range(STEPS)])


def test_every_text_is_seen_once_an_epoch(tmp_path):
    job, seen = Job(), []
    inner = job.loss
    job.loss = lambda batch, tensors: (seen.extend(batch.order_B.tolist()), inner(batch, tensors))[1]
    loop(tmp_path, job).run()
    for epoch in range(4):
        assert sorted(seen[epoch * TEXTS : (epoch + 1) * TEXTS]) == list(range(TEXTS))
    assert seen[:TEXTS] != seen[TEXTS : 2 * TEXTS]


def test_the_same_seed_gives_the_same_weights(whole, tmp_path):
    torch.rand(7)  # whatever was drawn before
    again = loop(tmp_path / "same")
    again.run()
    assert same_weights(weights(again), weights(whole))
    other = loop(tmp_path / "other", config=CONFIG.with_options(seed=1))
    other.run()
    assert not same_weights(weights(other), weights(whole))


def gradients(run: Loop) -> dict[str, Tensor]:
    """The gradients of a run's last step, summed over its texts: the masters', or still the model's."""
    run.masters.collect()
    return {name: weight.grad for name, weight in run.masters.weights.items()}


@pytest.mark.parametrize("tokens", [1, 20, 30])
def test_a_batch_over_the_token_budget_is_the_same_batch(tmp_path, tokens):
    config = CONFIG.with_options(batch_size=TEXTS, epochs=1, clip=1e9)
    runs = [loop(tmp_path / "whole", Job(dropout=0.0), config)]
    runs.append(loop(tmp_path / "split", Job(dropout=0.0), config.with_options(tokens_per_batch=tokens)))
    for run in runs:
        run.run()
    assert runs[0].job.batches == 1 < runs[1].job.batches
    whole, parts = map(gradients, runs)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-4, msg=name)
    losses = [logged(run.folder.parent)[0]["loss"] for run in runs]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_the_gradient_norm_is_clipped(tmp_path, monkeypatch):
    run = loop(tmp_path, Job(lambda job, loss: loss * 1000), CONFIG.with_options(epochs=1, batch_size=TEXTS, clip=0.5))
    scales, step = [], run.optimizer.step
    monkeypatch.setattr(run.optimizer, "step", lambda *told: (scales.append(told[1]), step(*told)))
    run.run()
    norm = torch.stack([gradient.norm() for gradient in gradients(run).values()]).norm()
    assert norm.item() * scales[-1] == pytest.approx(0.5, rel=1e-3)
    assert logged(tmp_path)[0]["gradient_norm"] > 100


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_T19_a_loss_that_is_no_number_stops_the_run(tmp_path, bad):
    kept: list[dict[str, Tensor]] = []

    def hook(job: Job, loss: Tensor) -> Tensor | None:
        kept.append({name: weight.clone() for name, weight in run.masters.weights.items()})
        return loss * bad if job.batches == 3 else None

    run = loop(tmp_path, Job(hook))
    with pytest.raises(TrainingError, match=r"step 3: loss (nan|inf).*rows \d+, \d+"):
        run.run()
    assert len(kept) == 3
    assert same_weights(run.masters.weights, kept[-1])
    assert same_weights(dict(run.job.model.named_parameters()), kept[-1])
    assert not same_weights(kept[0], kept[-1])
    assert run.result.steps == 2


def test_T19_a_gradient_that_is_no_number_stops_the_run(tmp_path):
    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float("nan")

    run = loop(tmp_path, Job(lambda job, loss: Poison.apply(loss)))
    before = weights(run)
    with pytest.raises(TrainingError, match=r"step 1: loss \d.*gradient norm nan"):
        run.run()
    assert same_weights(weights(run), before)


class Cramped(Job):
    """A machine with memory for so many tokens; gradients of half a batch are there when it runs out."""

    room = 40

    def loss(self, batch, tensors) -> Tensor:
        loss = super().loss(batch, tensors)
        if len(batch.ids_T) > self.room:
            self.model.classifier.weight.grad = torch.ones_like(self.model.classifier.weight)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss


def test_T20_out_of_memory_makes_smaller_batches_of_the_same_step(tmp_path):
    config = CONFIG.with_options(batch_size=TEXTS, epochs=1, clip=1e9)
    runs = [loop(tmp_path / "roomy", Job(dropout=0.0), config), loop(tmp_path / "tight", Cramped(dropout=0.0), config)]
    for run in runs:
        run.run()
    assert runs[1].feed.budget <= Cramped.room < runs[0].feed.budget
    assert runs[1].result.tokens == runs[0].result.tokens
    whole, parts = map(gradients, runs)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-4, msg=name)


def test_T20_a_text_too_long_for_the_memory_is_an_error(tmp_path):
    job = Cramped()
    job.room = 6
    with pytest.raises(TrainingError, match="step 1: out of memory on a single text of 7 tokens"):
        loop(tmp_path, job).run()


def test_T20_other_errors_are_no_lack_of_memory(tmp_path):
    def hook(job: Job, loss: Tensor) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        loop(tmp_path, Job(hook)).run()
    assert train.out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert train.out_of_memory(MemoryError())


def test_T20_the_probe_of_speed_finds_the_batches_that_fit(monkeypatch):
    monkeypatch.setattr(train, "PROBE_SECONDS", 0.05)
    texts = TextFeed(FEATURES, None, TEXTS, 1000, 0)
    assert measure_speed(Cramped(), texts, CONFIG, "cpu", layers=2, rows={}) > 0
    assert texts.budget <= Cramped.room


def scripted(scores: list[float]) -> Job:
    """A job whose validations give these scores, whatever the weights."""
    job = Job()
    job.seen = []

    def validate():
        job.seen.append({name: p.detach().clone() for name, p in job.model.named_parameters()})
        score = scores[len(job.seen) - 1]
        return (score,), {"score": score}

    job.validate = validate
    return job


def test_stops_early_and_brings_back_the_best(tmp_path):
    job = scripted([0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    run = loop(tmp_path, job, CONFIG.with_options(epochs=6, patience=3))
    result = run.run()
    assert len(job.seen) == 5
    assert (result.best_step, result.best_score, result.steps) == (12, (0.7,), 30)
    assert result.stopped.startswith("early")
    assert same_weights(dict(job.model.named_parameters()), job.seen[1])


def test_the_best_comes_out_at_the_end(tmp_path):
    job = scripted([0.5, 0.7, 0.6, 0.1])
    run = loop(tmp_path, job)
    result = run.run()
    assert (result.best_step, result.stopped) == (12, "at the end of the schedule")
    assert same_weights(dict(job.model.named_parameters()), job.seen[1])
    assert [path.name for path in run.folder.glob("best-*")] == ["best-00000012.safetensors"]


def test_a_better_score_starts_the_patience_anew(tmp_path):
    job = scripted([0.1, 0.0, 0.2, 0.1, 0.3, 0.2])
    result = loop(tmp_path, job, CONFIG.with_options(epochs=6, patience=2)).run()
    assert (result.best_step, result.steps) == (30, 36)


def test_a_deadline_ends_the_run_with_a_model(tmp_path):
    config = CONFIG.with_options(epochs=10_000, minutes=1 / 60)
    began = time.monotonic()
    result = loop(tmp_path, config=config, plan=Plan(10_000, 64, seconds=1.0)).run()
    assert time.monotonic() - began < 4
    assert result.seconds == pytest.approx(1.0, abs=0.5)
    assert "deadline" in result.stopped
    assert result.best_step > 0


def test_bf16_learns_the_same(whole, tmp_path):
    run = loop(tmp_path, config=CONFIG.with_options(precision="bf16"))
    run.run()
    found, expected = (
        [row["validation"]["loss"] for row in logged(folder) if "validation" in row]
        for folder in (tmp_path, whole.folder.parent)
    )
    assert found == pytest.approx(expected, abs=0.1)
    assert {p.dtype for p in run.job.model.parameters()} == {torch.float32}


def test_measuring_the_speed_changes_nothing(monkeypatch):
    monkeypatch.setattr(train, "PROBE_SECONDS", 0.2)
    job = Job()
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    random = torch.get_rng_state()
    rows = {"encoder.embeddings.token.weight": torch.from_numpy(feed(early=None).ids)}
    for precision, optimizer in (("fp32", "adamw"), ("bf16", "adamw"), ("bf16", "muon")):
        config = CONFIG.with_options(precision=precision, optimizer=optimizer)
        assert measure_speed(job, feed(early=None), config, "cpu", layers=2, rows=rows) > 100
        assert same_weights(job.model.state_dict(), before)
        assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in job.model.parameters())


def encoder_moved(seen: list[Tensor]) -> list[bool]:
    """Step by step, whether the encoder's weights are no longer those before."""
    return [not torch.equal(a, b) for a, b in pairwise(seen)]


def test_a_new_part_learns_alone_at_first(tmp_path):
    seen: list[Tensor] = []

    def look(job: Job, loss: Tensor) -> None:
        seen.append(nn.utils.parameters_to_vector(job.model.encoder.parameters()).detach().clone())
        heads.append(job.model.classifier.weight.detach().clone())

    heads: list[Tensor] = []
    whole = loop(tmp_path, Job(look), rates={"classifier": 1e-2}, ahead=0.5)
    whole.run()
    assert encoder_moved(seen) == [False] * (STEPS // 2) + [True] * (STEPS // 2 - 1)
    assert all(encoder_moved(heads))
    rates = [row["learning_rate"] for row in logged(tmp_path) if "loss" in row]
    assert rates[1:] == pytest.approx([1e-2 * schedule((i + 0.5) / STEPS, 0.06) for i in range(1, STEPS)])


@pytest.mark.parametrize("step", [3, 12, 13])
def test_T18_stopped_while_a_new_part_learns_alone(tmp_path, step):
    changes = {"rates": {"classifier": 1e-2}, "ahead": 0.5}
    whole = loop(tmp_path / "whole", **changes)
    whole.run()
    interrupted(tmp_path / "twice", step, **changes)
    second = loop(tmp_path / "twice", **changes)
    second.run()
    assert same_weights(weights(second), weights(whole))


# -- kill and resume --------------------------------------------------------------------------------------------------


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
    with pytest.raises(Interrupted) as stopped:
        run.run()
    assert stopped.value.number == number
    assert signal.getsignal(number) is before
    _, state = newest_checkpoint(run.folder)
    assert state["result"]["steps"] == 5


def test_T18_a_second_signal_ends_it_at_once(tmp_path):
    def twice(job: Job, loss: Tensor) -> None:
        if job.batches == 5:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    run = loop(tmp_path, Job(twice))
    with pytest.raises(KeyboardInterrupt) as stopped:
        run.run()
    assert not isinstance(stopped.value, Interrupted)


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
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    first = interrupted(tmp_path, 9)
    assert sorted(path.name for path in first.folder.glob("step-*.json")) == [
        "step-00000008.json",
        "step-00000009.json",
    ]
    if suffix == ".json" and how == "flipped":
        pytest.skip("one bit of the JSON is not under a checksum")
    damage(first.folder / f"step-00000009{suffix}", how)
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
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
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
        with pytest.raises(Interrupted):
            second.run()
        assert logged(tmp_path)[-1]["step"] == second.result.steps


def test_T15_half_written_files_are_not_taken_up(whole, tmp_path):
    first = interrupted(tmp_path, 9)
    (first.folder / "step-00000010.safetensors").write_bytes(b"half")
    (first.folder / "step-00000011.json.part").write_text("{")
    second = loop(tmp_path)
    second.run()
    assert same_weights(weights(second), weights(whole))


def test_T17_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    first = interrupted(tmp_path, 4)
    before = newest_checkpoint(first.folder)

    def full(path: Path, tensors: Any) -> None:
        path.with_name(path.name + ".part").write_bytes(b"some")
        raise OSError(28, "No space left on device")

    second = loop(tmp_path)
    monkeypatch.setattr(train, "write_tensors", full)
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
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
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    run = interrupted(tmp_path, 9)
    path, state = newest_checkpoint(run.folder)
    assert path.name == "step-00000009.safetensors"
    assert state["result"]["steps"] == 9
    tensors = load_file(str(path))
    for name in run.masters.weights:
        assert {f"weight.{name}", f"exp_avg.{name}", f"exp_avg_sq.{name}", f"step.{name}"} <= tensors.keys()
    assert "random.0" in tensors
    assert len(list(run.folder.glob("step-*.safetensors"))) == len(list(run.folder.glob("step-*.json"))) == 2
