"""None of the above: published scores of how little a text is of any known class, on clinc150's out-of-scope questions.

    python bench/out_of_scope.py [--per-class 20] [--epochs 4]

A model is fitted on so many questions of each of the 150 intents (`fit`, base minilm); then every score is a formula on
its logits and pooled vectors. Known questions are the test set's 4,500, unknown ones its 1,000. Thresholds accept 95 %
of the 3,000 known validation questions. One row a score in bench/results/out_of_scope.jsonl.

maximum probability   Hendrycks & Gimpel 2017         Mahalanobis    Lee et al. 2018, Podolskiy et al. 2021
energy                Liu et al. 2020                 k neighbours   Sun et al. 2022 (k 10, vectors of length 1)
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from accuracy import data_of
from labelled import numbers, with_texts
from records import DATA, HERE, append
from sklearn.metrics import roc_auc_score

from filbert.config import TrainConfig
from filbert.finetuning.fit import fit
from filbert.inference.engine import load
from filbert.inference.model import open_model
from filbert.inference.scorer import scorer_of
from filbert.inference.unknown import with_vectors
from filbert.linear.detector import fit_detector
from filbert.metrics.calibration import softmax
from filbert.records import FloatArray, IntArray

RESULTS, WORK = HERE / "results" / "out_of_scope.jsonl", HERE / "work" / "out_of_scope"
ACCEPTED, NEIGHBOURS = 0.95, 10
Parts = dict[str, FloatArray]
Score = Callable[[Parts, Parts, IntArray], dict[str, FloatArray]]  # logits and vectors by part, classes of train


def max_probability(logits: Parts, vectors: Parts, class_N: IntArray) -> dict[str, FloatArray]:
    return {part: 1 - softmax(each).max(axis=1) for part, each in logits.items()}


def energy(logits: Parts, vectors: Parts, class_N: IntArray) -> dict[str, FloatArray]:
    return {part: -np.logaddexp.reduce(each, axis=1) for part, each in logits.items()}


def mahalanobis(logits: Parts, vectors: Parts, class_N: IntArray) -> dict[str, FloatArray]:
    found = fit_detector(vectors["train"], class_N, vectors["validation"])
    return {part: found.distances(each @ found.directions_KD.T) for part, each in vectors.items()}


def mahalanobis_of_logits(logits: Parts, vectors: Parts, class_N: IntArray) -> dict[str, FloatArray]:
    found = fit_detector(logits["train"], class_N, logits["validation"])
    return {part: found.distances(each @ found.directions_KD.T) for part, each in logits.items()}


def neighbours(logits: Parts, vectors: Parts, class_N: IntArray) -> dict[str, FloatArray]:
    unit = {part: each / np.linalg.norm(each, axis=1, keepdims=True) for part, each in vectors.items()}
    return {part: -np.partition(each @ unit["train"].T, -NEIGHBOURS)[:, -NEIGHBOURS] for part, each in unit.items()}


SCORES: dict[str, Score] = {
    "maximum probability": max_probability,
    "energy": energy,
    "Mahalanobis": mahalanobis,
    "Mahalanobis of the logits": mahalanobis_of_logits,
    "k neighbours": neighbours,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--epochs", type=float, default=4)
    given = parser.parse_args()
    data, by_label = data_of("clinc150"), defaultdict(list)
    random = np.random.default_rng(0)
    for i in random.permutation(len(data.splits.train)).tolist():
        by_label[data.splits.train[i].target].append(data.splits.train[i])
    some = with_texts(data, train=[each for texts in by_label.values() for each in texts[: given.per_class]])
    out = WORK / f"{given.per_class}-{given.epochs:g}"
    if not (out / "report.json").is_file():
        config = TrainConfig(epochs=given.epochs, patience=100)
        fit(some, out, name="clinc150", base="minilm", config=config, compare=False, overwrite=True)
    model, engine = open_model(out), load(out)
    scorer = scorer_of(with_vectors(model, np.eye(model.config.hidden, dtype=np.float32)), "cpu", "fp32")
    unknown = [text for text, _ in json.loads((DATA / "clinc150" / "data_full.json").read_text("utf-8"))["oos_test"]]
    texts = {part: [each.text for each in examples] for part, examples in some.splits.parts.items()}
    both = {
        part: np.asarray(scorer.outputs([window for (window,) in engine.features([(text,) for text in each])]))
        for part, each in {**texts, "unknown": unknown}.items()
    }
    classes = model.head.outputs
    logits, vectors = (
        {part: rows[:, cut] for part, rows in both.items()} for cut in (slice(classes), slice(classes, None))
    )
    right_N = logits["test"].argmax(axis=1) == numbers(some.splits.test, some)
    for name, score in SCORES.items():
        found = score(logits, vectors, numbers(some.splits.train, some))
        threshold = np.quantile(found["validation"], ACCEPTED)
        known_N, unknown_N = found["test"], found["unknown"]
        truth_N = np.repeat([0, 1], [len(known_N), len(unknown_N)])
        figures = {
            "auroc": float(roc_auc_score(truth_N, np.concatenate((known_N, unknown_N)))),
            "recall": float((unknown_N > threshold).mean()),
            "accepted": float((known_N <= threshold).mean()),
            "right": float((right_N & (known_N <= threshold)).mean()),
        }
        counts = {part: len(each) for part, each in both.items()}
        told = {
            "per_class": given.per_class,
            "epochs": given.epochs,
            "counts": counts,
            "accuracy": float(right_N.mean()),
        }
        append(RESULTS, {"set": "clinc150", "base": "minilm", "score": name, **told, **figures})
        print(name, {key: round(100 * value, 2) for key, value in figures.items()}, flush=True)


if __name__ == "__main__":
    main()
