"""Deletion test of explanations: do the words that are called important matter more to the model than others?

    python bench/deletion.py MODEL TEXTS [--texts 200] [--words 10] [--by gradients] [--seed 0]

Of each text, the ten words with the largest weights for the answer are taken out, and, apart from that, ten at random
(the mean of 5 draws). What is measured is by how much the probability of the class that was predicted falls. TEXTS is a
file as `filbert predict` reads it, such as reviews of IMDb; texts with fewer than 30 words are left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from records import HERE, append

from filbert import load
from filbert.inference.engine import Engine
from filbert.inference.explain import Explanation, Word
from filbert.metrics.intervals import interval, resampled_means
from filbert.readers.sources import open_source

DRAWS = 5


def without(text: str, words: Collection[Word]) -> str:
    """Return a text without some of its words."""
    kept, at = [], 0
    for word in sorted(words, key=lambda word: word.begin):
        kept.append(text[at : word.begin])
        at = word.end
    return " ".join("".join([*kept, text[at:]]).split())


def falls(engine: Engine, why: Explanation, count: int, random: np.random.Generator) -> tuple[float, float]:
    """Return by how much the probability falls without the most important words, and without random ones."""
    (text,) = why.texts
    read = [word for word in why.words if word.weight is not None and word.text[0].isalnum()]
    best = sorted(read, key=lambda word: -(word.weight or 0.0))[:count]
    others = [[read[i] for i in random.choice(len(read), count, replace=False)] for _ in range(DRAWS)]
    texts = [text, *(without(text, words) for words in (best, *others))]
    given = [prediction.probabilities for prediction in engine.predict(texts)]  # type: ignore[attr-defined]
    number = int(np.argmax(given[0]))
    whole, mine, *theirs = (chances[number] for chances in given)
    return whole - mine, whole - float(np.mean(theirs))


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of a finished classifier")
    parser.add_argument("source", help="file of texts")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--words", type=int, default=10)
    parser.add_argument("--by", choices=["gradients", "occlusion"], default="gradients")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long, with the texts so far")
    parser.add_argument("--keep", action="store_true", help="append the record to bench/results")
    asked = parser.parse_args(words)
    engine, random = load(asked.model), np.random.default_rng(asked.seed)
    found, gaps, points, began = [], [], [], time.monotonic()
    for example in open_source(asked.source, labelled=False).examples():
        why = engine.explain(example.text, by=asked.by)
        if sum(word.weight is not None for word in why.words) < 3 * asked.words:
            continue
        found.append(falls(engine, why, asked.words, random))
        gaps.append(why.gap)
        points.append(why.points)
        if len(found) % 10 == 0:
            print(f"{len(found)} texts: {np.mean(found, axis=0).round(4).tolist()}", flush=True)
        if len(found) == asked.texts or time.monotonic() - began > 60 * asked.minutes:
            break
    more = {"by": asked.by, "base": engine.info.get("base"), "max_length": engine.max_length, "words": asked.words}
    row = {**summary(found, gaps, points), **more, "seconds_each": (time.monotonic() - began) / max(len(found), 1)}
    print(append(HERE / "results" / "deletion.jsonl", row) if asked.keep else row)


def summary(found: Sequence[tuple[float, float]], gaps: Sequence[float], points: Sequence[int]) -> dict[str, Any]:
    """Return both mean falls, and that of the important words less three times that of random ones, with intervals."""
    fall_N2 = np.array(found)
    drawn_R2 = resampled_means(fall_N2)
    best, other = fall_N2.mean(axis=0).tolist()
    return {
        "texts": len(found),
        "important": interval(best, drawn_R2[:, 0]),
        "random": interval(other, drawn_R2[:, 1]),
        "above_three_times": interval(best - 3 * other, drawn_R2[:, 0] - 3 * drawn_R2[:, 1]),
        "gap_99": float(np.quantile(gaps, 0.99)),
        "points": float(np.mean(points)),
    }


if __name__ == "__main__":
    main()
