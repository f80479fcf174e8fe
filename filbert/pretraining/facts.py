"""Make the content of report.json of a pre-training run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from filbert.bases.find import find_base
from filbert.files import read_json
from filbert.model.device import working_dtype
from filbert.pretraining.evaluation import evaluate, pseudo_perplexity
from filbert.pretraining.folder import load_pretrained
from filbert.pretraining.train import Run
from filbert.records import IntArray
from filbert.training.job import Trained
from filbert.training.plan import Plan
from filbert.version import versions


def report_facts(run: Run, out: Path, trained: Trained, plan: Plan, command: str) -> dict[str, Any]:
    """Open the saved model, evaluate it on all held-out text, and return the content of report.json."""
    start, device = run.settings.start, run.settings.device
    run.watch.say("evaluating on held-out text")
    saved = load_pretrained(out).model.to(device).eval()
    scores = evaluate(saved, run.feed.held_out(), device, pairs=run.config.next_sentence)
    scores["pseudo_perplexity"] = pseudo_perplexity(saved, run.tokenizer, _sample(run), device)
    shape = run.model.encoder.config
    return {
        "task": "pretrain",
        "name": out.name,
        "scores": scores,
        "data": {
            "corpora": [
                {**shards.facts, "weight": weight}
                for shards, weight in zip(run.feed.pool.shards, run.settings.weights, strict=True)
            ],
            "held_out_tokens": run.feed.pool.tokens(held_out=True),
            "repeated_documents": run.feed.pool.repeated,
        },
        "model": {
            "base": start.base or start.size,
            "random_start": start.base is None,
            "random_init": start.random_init if start.base is None else None,
            "layers": shape.layers,
            "hidden": shape.hidden,
            "heads": shape.heads,
            "vocabulary": shape.vocab_size,
            "position": shape.position,
            "parameters": sum(p.numel() for p in run.model.parameters()),
        },
        "training": {
            **trained.facts(),
            "tokens_before": _tokens_before(start.base),
            "encoder_changed": run.encoder_changed(trained),
            "precision": "bf16" if working_dtype(run.config.precision, device) == torch.bfloat16 else "fp32",
            "device": device,
            "processes": run.settings.group.size,
            "config": {
                **asdict(run.config),
                "epochs": plan.epochs if plan.seconds is None else None,
                "learning_rate": run.rate,
            },
            "command": command,
        },
        "versions": versions(),
    }


def _sample(run: Run) -> list[IntArray]:
    """Return the ids of a hundred short held-out texts, for pseudo-perplexity."""
    rows_N5 = run.feed.pool.plan(64, pairs=False, seed=0, epoch=0, held_out=True)[:100]
    return [run.feed.pool.take(np.arange(row[0], row[1]))[0] for row in rows_N5]


def _tokens_before(base: str | None) -> int:
    """Return how many tokens the base was trained on before, by its report.json."""
    folder = None if base is None else find_base(base).folder
    if folder is None or not (folder / "report.json").is_file():
        return 0
    training = read_json(folder / "report.json").get("training") or {}
    return int(training.get("tokens") or 0) + int(training.get("tokens_before") or 0)
