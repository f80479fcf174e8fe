"""What a frozen encoder knows of a task: a linear model on its vectors, in two minutes, before any fine-tuning.

Two vectors of a text are tried, [CLS] and the mean of its tokens. A base whose score falls here when it was adapted
has forgotten something that fine-tuning must learn again (Kumar et al. 2022).

    python bench/probe.py SET BASE…        # SET of adapt.py: imdb, ohsumed, unfair_tos
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from adapt import SETS, splits_of
from encoders import apart
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from filbert.bases import find_base
from filbert.batching import by_budget, pack
from filbert.checkpoint import load_base
from filbert.model.native_encoder import NativeEncoder
from filbert.records import Features, FloatArray
from filbert.tasks import classify

BUDGET = 8192  # tokens of a batch
PENALTY = 0.03  # C of the linear model: vectors are a few hundred numbers, texts a few thousand


def vectors(encoder: NativeEncoder, features: Sequence[Features]) -> dict[str, FloatArray]:
    """Return the vectors of N texts by name, each [N, width]."""
    width = encoder.config.hidden
    both = {name: np.empty((len(features), width), np.float32) for name in ("[CLS]", "mean")}
    for chunk in by_budget([len(row) for row in features], BUDGET):
        batch = pack(features, chunk)
        hidden_TD = encoder(batch.ids_T, batch.positions_T, batch.segments_T, batch.starts_B)
        for n, text in enumerate(batch.order_B):
            first, end = batch.starts_B[n], batch.starts_B[n + 1]
            both["[CLS]"][text], both["mean"][text] = hidden_TD[first], hidden_TD[first:end].mean(0)
    return both


def probe(name: str, base: str) -> None:
    """Print what a linear model makes of a base's vectors."""
    splits, _ = apart(splits_of(name))
    loaded, tokenizer, _ = load_base(find_base(base).folder)
    encoder = NativeEncoder(loaded.config, {k: w.float().numpy() for k, w in loaded.state_dict().items()}, "bf16")
    found, true = {}, {}
    for part in ("train", "test"):
        texts = [example.text for example in splits.parts[part]]
        found[part] = vectors(encoder, [classify.features(one, tokenizer, 512) for one in tokenizer.encode(texts)])
        true[part] = splits.true(part)
    for kind in ("[CLS]", "mean"):
        linear = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=300))
        guessed = linear.fit(found["train"][kind], true["train"]).predict(found["test"][kind])
        accuracy = accuracy_score(true["test"], guessed)
        macro = f1_score(true["test"], guessed, average="macro")
        print(f"{name}, {base}, {kind}: accuracy {100 * accuracy:.2f}, macro-F1 {100 * macro:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("bases", nargs="+", metavar="BASE", help="a name, or the folder of a base model")
    arguments = parser.parse_args()
    for base in arguments.bases:
        probe(arguments.set, base)


if __name__ == "__main__":
    main()
