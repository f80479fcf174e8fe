"""`fit --unknown`: what a text of none of the known classes is, learned from the texts of the known ones.

Shapes: N texts, D hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from filbert.finetuning.prepare import Run
from filbert.folder.open import UNKNOWN
from filbert.folder.save import add_detector
from filbert.inference.engine import averaged, scored
from filbert.inference.model import open_model
from filbert.inference.scorer import scorer_of
from filbert.inference.unknown import told, with_vectors
from filbert.linear.detector import fit_detector
from filbert.metrics.selective import share
from filbert.progress import Watcher
from filbert.records import Features, FloatArray, IntArray
from filbert.tasks.task import Json

MOST = 20_000  # training texts that are scored for it; of more a random part
MANY = 100  # classes, from which on the classifier's directions tell more than all: clinc150, AUROC 97.1 for 95.3


def learn_unknown(out: Path, run: Run, rate: float, watch: Watcher) -> Json:
    """Write the detector into the model's folder → what the report says of it."""
    watch.progress("learning which texts are of no known class", 0, 0)
    parts, chosen_N = run.data.splits.parts, np.arange(len(run.features["train"]))
    if len(chosen_N) > MOST:
        chosen_N = np.sort(np.random.default_rng(0).permutation(len(chosen_N))[:MOST])
    names = [name for (name,) in run.data.task.classes([parts["train"][i] for i in chosen_N])]
    class_N: IntArray = np.unique(names, return_inverse=True)[1].astype(np.int32)
    known = _vectors(out, run, [run.features["train"][i] for i in chosen_N])
    held_out = {split: _vectors(out, run, windows) for split, windows in run.features.items() if split != "train"}
    onto_KD = open_model(out).arrays["last.weight"].astype(np.float64)
    if len(onto_KD) < MANY:
        onto_KD = np.eye(onto_KD.shape[1])
    found = fit_detector(known @ onto_KD.T, class_N, held_out["validation"] @ onto_KD.T)
    found = replace(found, directions_KD=(found.directions_KD @ onto_KD).astype(np.float32))
    farthest = found.threshold(rate)
    add_detector(out, found, told(rate if np.isfinite(farthest) else 0.0))
    facts: Json = {
        "rate": rate,
        "farthest": farthest if np.isfinite(farthest) else None,
        "texts": len(held_out["validation"]),
        "bytes": (out / UNKNOWN).stat().st_size,
    }
    if "test" in held_out and facts["farthest"] is not None:
        away_N = found.distances(held_out["test"] @ found.directions_KD.T)
        facts["measured"] = {"test": share(int((away_N > farthest).sum()), len(away_N))}
    return facts


def _vectors(out: Path, run: Run, windows: Sequence[Sequence[Features]]) -> FloatArray:
    """Return the pooled vector of each text."""
    model = open_model(out)
    whole = with_vectors(model, np.eye(model.config.hidden, dtype=np.float32))
    rows_NO = np.asarray(averaged(scored(scorer_of(whole, run.device, "fp32"), windows), whole.head)[0])[:, 0]
    return rows_NO[:, model.head.outputs :]
