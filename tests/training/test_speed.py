"""The speed is measured without a trace, with batches that fit into memory."""

from __future__ import annotations

import torch
from loops import CONFIG, FEATURES, TEXTS, Cramped, Job, feed
from small import same_weights

from filbert.errors import out_of_memory
from filbert.finetuning.job import TextFeed
from filbert.training import speed
from filbert.training.speed import measure_speed


def test_T20_what_says_that_memory_ran_out():
    assert out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert out_of_memory(MemoryError())
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_T20_measuring_the_speed_finds_the_batches_that_fit(monkeypatch):
    monkeypatch.setattr(speed, "MEASURING_SECONDS", 0.05)
    texts = TextFeed(FEATURES, None, TEXTS, 1000, 0)
    assert measure_speed(Cramped(), texts, CONFIG, "cpu", layers=2, rows={}) > 0
    assert texts.budget <= Cramped.room


def test_measuring_the_speed_changes_nothing(monkeypatch):
    monkeypatch.setattr(speed, "MEASURING_SECONDS", 0.2)
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
