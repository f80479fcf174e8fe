"""The cascade: texts per second and accuracy with and without it, on test texts of a set.

    python bench/cascade.py [imdb|sst2 …] [--points 0.5 1 2] [--held-out 5000] [--precision fp32] [--alone] [--write]

The classifier is the one that `python bench/accuracy.py SET` left in bench/work/; where there is none it is made. The
promise of `--cascade` is fitted on texts that the classifier did not train on: its validation texts and, as those are
too few for half a point, `--held-out` of the test texts, which are then not measured on. Both sides score the rest of
the test texts from strings, one after the other. The linear model was fitted on the training texts and, unless
`--alone`, on what the classifier answers to the texts without labels that a set has (IMDb: 50,000).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from labelled import numbers
from predict_speed import SETS, model_of
from records import DATA, HERE
from speeds import circumstances, record

from filbert.cli.console import Screen
from filbert.data.splits import Splits
from filbert.finetuning.cascade import pseudo_labelled, quick_engine, texts_of
from filbert.finetuning.dataset import read_dataset
from filbert.inference.engine import Engine, load
from filbert.linear.cascade import Cascade, fit_cascade
from filbert.linear.risk import NEVER, choose_threshold
from filbert.metrics import calibration, intervals
from filbert.records import Example, FloatArray
from filbert.tasks.single_label.outputs import probabilities

RESULTS = HERE / "results" / "cascade.jsonl"
UNLABELLED = {"imdb": "imdb/aclImdb_unsup.tar.xz"}


def scored(engine: Engine, examples: list[Example]) -> tuple[FloatArray, float]:
    """Score texts → probabilities, seconds."""
    began = time.perf_counter()
    found = engine.predict([example.inputs for example in examples])
    return probabilities(found), time.perf_counter() - began


def divided(splits: Splits, held_out: int) -> tuple[list[Example], list[Example]]:
    """Return the texts to fit the promise on, and those to measure it on."""
    order = np.random.default_rng(0).permutation(len(splits.test))
    test = [splits.test[i] for i in order]
    return [*splits.validation, *test[:held_out]], test[held_out:]


def measure(folder: Path, name: str, points: list[float], held_out: int, precision: str, alone: bool) -> dict[str, Any]:
    """Fit a linear model, and a threshold for each promise → the record."""
    data = read_dataset(DATA / SETS[name])
    splits, classes = data.splits, len(data.settings.labels)
    engine = load(folder, device="cpu", precision=precision, cascade=False)
    fitted, measured = divided(splits, held_out)
    train = list(splits.train)
    ids = [
        [engine.pieces(one) for one in engine.encode([each.inputs for each in part])]
        for part in (train, fitted, measured)
    ]
    true = [numbers(part, data) for part in (train, fitted, measured)]
    sources = [DATA / UNLABELLED[name]] if name in UNLABELLED and not alone else []
    with Screen() as screen:
        texts = texts_of(sources, splits.held_out, screen)
        more, answers_N = pseudo_labelled(quick_engine(folder, "cpu"), texts, screen)
    linear = fit_cascade([*ids[0], *more], np.concatenate((true[0], answers_N)), ids[1], true[1], classes)
    linear_NC = calibration.softmax(Cascade(linear, NEVER).answer(ids[1])[0])
    known_NC, _ = scored(engine, fitted)
    alone_NC, alone_seconds = scored(engine, measured)
    print(f"{name}: {len(measured):,} texts by BERT alone in {alone_seconds:.1f} s", flush=True)
    rows = []
    for allowed in points:
        threshold, curve = choose_threshold(linear_NC, known_NC, true[1], allowed / 100)
        engine.cascade = Cascade(linear, threshold)
        both_NC, seconds = scored(engine, measured)
        _, sure_N = engine.cascade.answer(ids[2])
        lost = intervals.paired_difference(true[2], alone_NC.argmax(axis=1), both_NC.argmax(axis=1))
        bound = next((each["bound"] for each in curve if each["threshold"] == threshold), 0.0)  # 0: none in front
        rows.append(
            {
                "points": allowed,
                "bound": bound,
                "threshold": threshold,
                "share": float(sure_N.mean()),
                "lost": lost,
                "accuracy": float((both_NC.argmax(axis=1) == true[2]).mean()),
                "seconds": round(seconds, 2),
                "speedup": round(alone_seconds / seconds, 2),
            }
        )
        print(f"{name}, at most {allowed:g} points: {rows[-1]}", flush=True)
    alone_by_linear_NC = Cascade(linear, NEVER).answer(ids[2])[0]
    return {
        "set": name,
        "precision": precision,
        "pseudo_labelled": len(more),
        "fitted_on": len(fitted),
        "texts": len(measured),
        "accuracy": float((alone_NC.argmax(axis=1) == true[2]).mean()),
        "front": float((alone_by_linear_NC.argmax(axis=1) == true[2]).mean()),
        "seconds": round(alone_seconds, 2),
        "cascades": rows,
        **circumstances("torch"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--points", nargs="+", type=float, default=[0.5, 1.0, 2.0])
    parser.add_argument("--held-out", type=int, default=5_000, help="of the test texts, for the promise")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--alone", action="store_true", help="no texts without labels for the linear model")
    parser.add_argument("--write", action="store_true", help="append to bench/results/cascade.jsonl")
    args = parser.parse_args()
    for name in args.sets or SETS:
        row = measure(
            model_of(name, "minilm", HERE / "work"), name, args.points, args.held_out, args.precision, args.alone
        )
        record(RESULTS, row, write=args.write)


if __name__ == "__main__":
    main()
