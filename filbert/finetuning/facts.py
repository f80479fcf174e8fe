"""What a report says of a run beside its scores: data, model, training, how long the texts are, where they are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from filbert.config import TrainConfig
from filbert.data.splits import fingerprint
from filbert.finetuning.dataset import Dataset
from filbert.finetuning.prepare import Run, cuts
from filbert.finetuning.train import Result
from filbert.model.device import working_dtype
from filbert.tasks.task import Json
from filbert.text.languages import codes
from filbert.version import versions


def length_profile(lengths: Sequence[int], max_length: int) -> dict[str, Any]:
    """Count texts by length in tokens: bin i holds lengths above `edges[i]`, up to and including `edges[i + 1]`.

    `max_length` is an edge whenever a text is longer, so that cut and uncut texts never share a bar; beyond twice
    `max_length` everything is one last bin.

    >>> length_profile([3, 4, 5, 40], max_length=4)
    {'edges': [0, 1, 2, 3, 4, 5, 6, 7, 8, 40], 'counts': [0, 0, 1, 1, 1, 0, 0, 0, 1], 'max_length': 4}
    """
    longest = max(lengths, default=0)
    if longest > max_length:
        width = max(1, -(-max_length // 16))
        inside = list(range(max_length, 0, -width))[::-1]
        beyond = range(max_length + width, min(longest, 2 * max_length) + 1, width)
        edges = sorted({0, *inside, *beyond, longest})
    else:
        width = _round_width(longest / 16)
        edges = list(range(0, max(longest, 1) + width, width))
    bin_N = np.searchsorted(edges, np.maximum(np.asarray(lengths, dtype=np.int64), 1), "left") - 1
    counts = np.bincount(bin_N, minlength=len(edges) - 1)
    return {"edges": edges, "counts": counts.tolist(), "max_length": max_length}


def _round_width(width: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, … that is not below `width`."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if step * size >= width:
                return step * size
        size *= 10


def run_facts(run: Run, result: Result, *, source: str, config: TrainConfig, command: str) -> Json:
    """Return what the report says of the run: the settings of its task by name, data, model and training.

    >>> run_facts(run, result, source="reviews.csv", config=config, command="")["lengths"]  # doctest: +SKIP
    {'edges': [0, 5, 10], 'counts': [40, 60], 'max_length': 512, 'of': None}
    """
    return {
        **asdict(run.data.settings),
        "data": _data_facts(run.data, source),
        "model": _model_facts(run, result),
        "training": _training_facts(run, result, config=config, command=command),
        "truncation": {split: cuts(windows, averaged=run.averaged) for split, windows in run.features.items()},
        "long_texts": run.long_facts,
        "lengths": {
            **length_profile(run.lengths, result.plan.max_length),
            "of": "window" if run.data.task.WINDOWS else None,
        },
        "versions": versions(),
        **result.facts,
    }


def _data_facts(data: Dataset, source: str) -> Json:
    return {
        "source": source,
        "found": list(data.found),
        "counts": {split: len(examples) for split, examples in data.splits.parts.items()},
        "quarantined": data.quarantined,
        "inputs": len(data.splits.train[0].inputs),
        "languages": codes([example.inputs[-1] for example in data.splits.train]),
        "example": data.task.EXAMPLE,
        **data.facts,
        "fingerprint": data.splits.fingerprint,
        "fingerprints": {split: fingerprint(texts) for split, texts in data.splits.parts.items() if split != "train"},
    }


def _model_facts(run: Run, result: Result) -> Json:
    return {
        "base": run.base.name,
        "reason": run.base.reason,
        "layers": run.encoder_config.layers,
        "hidden": run.encoder_config.hidden,
        "parameters": sum(p.numel() for p in result.job.model.parameters()),
        "max_length": result.plan.max_length,
    }


def _training_facts(run: Run, result: Result, *, config: TrainConfig, command: str) -> Json:
    return {
        **result.trained.facts(),
        "precision": "bf16" if working_dtype(config.precision, run.device) == torch.bfloat16 else "fp32",
        "device": run.device,
        "seed": config.seed,
        "balance": result.balance,
        "config": {
            **asdict(result.config or config),
            "optimizer": run.config.optimizer,
            "pooling": run.config.pooling,
            "learning_rate": run.rate,
            "epochs": result.plan.epochs,
        },
        "command": command,
    }
