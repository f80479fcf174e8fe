"""Whether our 95 % intervals hold the truth 95 times in a hundred: 1,000 simulated test sets of each size and figure.

The truth is the figure on a million simulated texts, from which the test sets are drawn. Single label: three classes of
60, 30 and 10 %, probabilities that carry a signal and noise. Several labels: five, of 40 to 5 %, decided at 0.5.
Numbers: the truth plus noise. Answers: F1 between 0 and 1, many of them exactly 0 or 1.

    python bench/interval_coverage.py [--sets 1000] [--sizes 100 500] [--write]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from records import HERE, Row, append

from filbert.metrics.classes import score
from filbert.metrics.label_sets import score_label_sets, sigmoid
from filbert.metrics.numbers import score_numbers
from filbert.metrics.spans import mean

RESULTS = HERE / "results" / "interval_coverage.jsonl"
MANY = 1_000_000
Arrays = tuple[np.ndarray[Any, Any], ...]
Measure = Callable[..., Mapping[str, Any]]


def single_label(rng: np.random.Generator, n: int) -> Arrays:
    true_N = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    logits_NC = 1.6 * np.eye(3)[true_N] + rng.normal(size=(n, 3)) + np.log([0.6, 0.3, 0.1])
    weights_NC = np.exp(logits_NC)
    return true_N, weights_NC / weights_NC.sum(axis=1, keepdims=True)


def label_sets(rng: np.random.Generator, n: int) -> Arrays:
    shares = np.array([0.4, 0.3, 0.2, 0.1, 0.05])
    true_NL = rng.random((n, 5)) < shares
    chances_NL = sigmoid(3 * true_NL - 1.5 + rng.normal(size=(n, 5)) + 0.5 * np.log(shares / (1 - shares)))
    return true_NL, chances_NL, chances_NL >= 0.5


def numbers(rng: np.random.Generator, n: int) -> Arrays:
    true_N = rng.normal(size=n)
    return true_N, 0.8 * true_N + 0.6 * rng.normal(size=n)


def answers(rng: np.random.Generator, n: int) -> Arrays:
    return (np.clip(rng.normal(0.7, 0.6, size=n), 0, 1),)


FAMILIES: dict[str, tuple[Callable[[np.random.Generator, int], Arrays], Measure, tuple[str, ...]]] = {
    "single label": (
        single_label,
        lambda *made, resamples: score(*made, ["a", "b", "c"], resamples=resamples),
        ("accuracy", "macro_f1", "mcc", "auc"),
    ),
    "several labels": (
        label_sets,
        lambda *made, resamples: score_label_sets(*made, list("abcde"), resamples=resamples),
        ("micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "map"),
    ),
    "numbers": (
        numbers,
        lambda *made, resamples: score_numbers(*made, resamples=resamples),
        ("pearson", "spearman", "mae", "rmse"),
    ),
    "answers": (answers, lambda *made, resamples: {"f1": mean(*made)}, ("f1",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    for family, (simulate, measure, figures) in FAMILIES.items():
        truth = population(simulate, measure, figures)
        for n in args.sizes:
            held, rng = dict.fromkeys(figures, 0), np.random.default_rng(n)
            for _ in range(args.sets):
                found = measure(*simulate(rng, n), resamples=1000)
                for name in figures:
                    held[name] += found[name]["low"] <= truth[name] <= found[name]["high"]
            for name in figures:
                share = held[name] / args.sets
                print(
                    f"{family}, {name}, {n} texts: {100 * share:.1f} % of the intervals hold {truth[name]:.4f}",
                    flush=True,
                )
                row: Row = {"family": family, "figure": name, "texts": n, "sets": args.sets, "coverage": share}
                if args.write:
                    append(RESULTS, row)


def population(
    simulate: Callable[[np.random.Generator, int], Arrays], measure: Measure, figures: tuple[str, ...]
) -> dict[str, float]:
    """Return each figure of a million texts: the mean over parts, whose bias is a hundredth of an interval's width."""
    rng, parts = np.random.default_rng(1), 20
    found = [measure(*simulate(rng, MANY // parts), resamples=2) for _ in range(parts)]
    return {name: float(np.mean([each[name]["value"] for each in found])) for name in figures}


if __name__ == "__main__":
    main()
