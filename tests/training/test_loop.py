"""The loop: what it trains on and counts, when it stops, and which weights it ends with."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
import torch
from loops import (
    CONFIG,
    EARLY,
    FEATURES,
    STEPS,
    TEXTS,
    Cramped,
    Job,
    interrupted,
    logged,
    loop,
    weights,
)
from small import same_weights
from torch import Tensor, nn

from filbert.errors import TrainingError
from filbert.model.packing import shuffled
from filbert.progress import Silent
from filbert.training.loop import Loop
from filbert.training.optimizer import schedule
from filbert.training.plan import Plan


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Loop:
    """The run that nothing interrupts."""
    run = loop(tmp_path_factory.mktemp("whole"))
    run.run()
    return run


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
    run.masters.collect_gradients()
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
    monkeypatch.setattr(run.optimizer, "step", lambda *given: (scales.append(given[1]), step(*given)))
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
    with pytest.raises(TrainingError, match=r"step 3: loss (nan|inf).*rows \d+, \d+.*try --learning-rate \d"):
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


def test_T20_out_of_memory_while_validating_makes_smaller_batches(tmp_path):
    runs = []
    for room in (10_000, 40):
        job = Job(dropout=0.0)
        inner = job.model.forward

        def forward(ids_T, *rest, room=room, job=job, inner=inner):
            if not job.model.training and len(ids_T) > max(64, room):  # rounded up to 64 rows
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return inner(ids_T, *rest)

        job.model.forward = forward
        runs.append(loop(tmp_path / str(room), job, CONFIG.with_options(epochs=1)))
        runs[-1].run()
    assert same_weights(weights(runs[0]), weights(runs[1]))
    assert runs[0].result.best_score[0] == pytest.approx(runs[1].result.best_score[0], abs=1e-5)


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


def scripted(scores: list[float]) -> Job:
    """A job whose validations give these scores, whatever the weights."""
    job = Job()
    job.seen = []

    def validate():
        job.seen.append({name: p.detach().clone() for name, p in job.model.named_parameters()})
        score = scores[len(job.seen) - 1]
        return (score,), {"macro_f1": score}

    job.validate = validate
    return job


def test_stops_early_and_brings_back_the_best(tmp_path):
    job = scripted([0.5, 0.7, 0.6, 0.7, 0.65, 0.9])
    told: list[str] = []
    watch = Silent()
    watch.say = told.append  # type: ignore[method-assign]
    run = loop(tmp_path, job, CONFIG.with_options(epochs=6, patience=3), watch=watch)
    result = run.run()
    assert len(job.seen) == 5
    assert (result.best_step, result.best_score, result.steps) == (12, (0.7,), 30)
    assert result.stopped == "early: no better validation macro f1 3 times in a row"
    assert [" — best macro f1 so far" in line for line in told if "validation" in line] == [1, 1, 0, 0, 0]
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


def encoder_moved(seen: list[Tensor]) -> list[bool]:
    """Step by step, whether the encoder's weights are no longer those before."""
    return [not torch.equal(a, b) for a, b in pairwise(seen)]


def test_a_new_head_is_trained_alone_at_first(tmp_path):
    seen: list[Tensor] = []

    def look(job: Job, loss: Tensor) -> None:
        seen.append(nn.utils.parameters_to_vector(job.model.encoder.parameters()).detach().clone())
        heads.append(job.model.last.weight.detach().clone())

    heads: list[Tensor] = []
    whole = loop(tmp_path, Job(look), head_rates={"last": 1e-2}, head_warmup=0.5)
    whole.run()
    assert encoder_moved(seen) == [False] * (STEPS // 2) + [True] * (STEPS // 2 - 1)
    assert all(encoder_moved(heads))
    rates = [row["learning_rate"] for row in logged(tmp_path) if "loss" in row]
    alone = STEPS // 2  # the head's rate, then the encoder's, whose schedule begins here
    assert rates[1:alone] == pytest.approx([1e-2 * schedule((i + 0.5) / STEPS, 0.06) for i in range(1, alone)])
    assert rates[alone:] == pytest.approx(
        [whole.rate * schedule((i + 0.5) / STEPS * 2 - 1, 0.06) for i in range(alone, STEPS)]
    )


@pytest.mark.parametrize("step", [3, 12, 13])
def test_T18_stopped_while_a_new_head_is_trained_alone(tmp_path, step):
    changes = {"head_rates": {"last": 1e-2}, "head_warmup": 0.5}
    whole = loop(tmp_path / "whole", **changes)
    whole.run()
    interrupted(tmp_path / "twice", step, **changes)
    second = loop(tmp_path / "twice", **changes)
    second.run()
    assert same_weights(weights(second), weights(whole))
