"""A classifier's report.json with everything in it, and a training log, without training one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from filbert.finetuning.facts import length_profile
from filbert.metrics.calibration import reliability, softmax
from filbert.metrics.classes import score
from filbert.metrics.intervals import paired_difference


def full_report(labels: list[str], n: int = 200) -> dict[str, Any]:
    """Return a report.json with everything in it."""
    rng = np.random.default_rng(0)
    true_N = rng.integers(0, len(labels), n)
    logits_NC = rng.normal(size=(n, len(labels)))
    logits_NC[np.arange(n), true_N] += 2
    chances_NC = softmax(logits_NC)
    measured = score(true_N, chances_NC, labels, resamples=50)
    difference = paired_difference(true_N, chances_NC.argmax(axis=1), rng.permutation(true_N))
    return {
        "task": "single-label",
        "name": "reviews",
        "labels": labels,
        "data": {
            "source": "reviews.csv",
            "found": ["200 rows"],
            "counts": {"train": n, "validation": n, "test": n},
            "quarantined": 2,
            "label_counts": {"train": dict.fromkeys(labels, 9)},
            "fingerprint": "ab12",
            "warnings": ["3 texts stand twice"],
        },
        "model": {"base": "minilm", "reason": "English, no GPU", "layers": 6, "hidden": 384, "max_length": 64},
        "training": {"seconds": 90.0, "steps": 20, "best_step": 20, "seed": 0, "command": "filbert fit reviews.csv"},
        "truncation": {"test": {"texts": n, "cut_texts": 5, "tokens": 9000, "cut_tokens": 70}},
        "calibration": {
            "temperature": 1.3,
            "ece_before": 0.08,
            "ece_after": 0.02,
            "bins": reliability(true_N, chances_NC),
        },
        "scores": {"validation": measured, "test": measured},
        "baseline": {"name": "TF-IDF", "seconds": 1.0, "test": measured, "difference": {"test": difference}},
        "lengths": length_profile(rng.integers(5, 100, n).tolist(), 64),
        "mistakes": [
            {"text": "fine", "label": labels[0], "predicted": labels[1], "probability": 0.98, "place": "a.csv:7"}
        ],
        "versions": {"filbert": "0.1.0"},
    }


def log_lines() -> str:
    lines: list[dict[str, Any]] = [{"step": s, "loss": 1 / s, "learning_rate": 1e-4 / s} for s in range(1, 21)]
    lines += [{"step": s, "validation": {"accuracy": 0.8, "macro_f1": 0.7, "loss": 0.5}} for s in (10, 20)]
    return "\n".join(json.dumps(line) for line in lines)
