"""`fit --abstain`: from which confidence on a model answers, learned from the validation texts, measured on the test.

The thresholds for other rates are written into the folder, too, so that `predict --abstain` may ask for another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from filbert.finetuning.prepare import Run
from filbert.folder.save import add_facts
from filbert.inference.abstention import told
from filbert.inference.engine import load
from filbert.metrics.selective import Level, chance_of_so_few, chosen, curve, least_rate, levels, measured
from filbert.records import Prediction
from filbert.tasks.task import Json

Predictions = Mapping[str, Sequence[Prediction]]  # by split


def learn_abstention(out: Path, run: Run, known: Predictions, rate: float | None, *, cascade: bool) -> Json | None:
    """Write thresholds into the model's folder → what the report says; None where no answer can be withheld.

    `known` is what the model answered to the held-out texts; with a cascade they are answered anew.
    """
    task, settings, parts = run.data.task, run.data.settings, run.data.splits.parts
    if task.ABSTAIN:
        return None
    if cascade:
        engine = load(out, device=run.device, abstain=0.0)
        known = {split: engine.answer(run.encodings[split]) for split in known}
    sure = {split: np.array([each.confidence for each in found], dtype=np.float64) for split, found in known.items()}
    errors = {split: task.errors(parts[split], known[split], settings) for split in known}
    found = levels(sure["validation"], errors["validation"][1])
    level = chosen(found, rate) if rate else None
    add_facts(out, told(found, rate if level else None))
    facts: Json = {
        "error": errors["validation"][0],
        "rate": rate,
        "curves": {split: curve(sure[split], errors[split][1]) for split in known},
        "level": None,
    }
    if rate and level is None:
        facts |= {"texts": len(sure["validation"]), "least": least_rate(found)}
    if level is not None:
        facts["level"] = _level(level, len(sure["validation"]), rate or 1.0)
        facts["measured"] = {
            split: measured(sure[split] < level.threshold, errors[split][1]) for split in known if split == "test"
        }
    return facts


def _level(level: Level, texts: int, rate: float) -> Json:
    return {
        "threshold": level.threshold,
        "texts": texts,
        "answered": level.answered,
        "wrong": level.wrong,
        "chance": chance_of_so_few(level.wrong, level.answered, rate),
    }
