"""What a frozen encoder knows of a task, as `fit --adapt` asks: a linear model on the means of its vectors.

    python bench/probe.py SET BASE…        # SET of adapt.py: imdb, ohsumed, unfair_tos

A base is a name, or the folder of a base model.
"""

from __future__ import annotations

import argparse

from adapt import SETS, splits_of
from encoders import apart

from filbert.bases.find import find_base
from filbert.finetuning import probe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("bases", nargs="+", metavar="BASE", help="a name, or the folder of a base model")
    arguments = parser.parse_args()
    splits, _ = apart(splits_of(arguments.set))
    true_N = splits.true("train")
    chosen_N = probe.chosen(true_N)
    if chosen_N is None:
        parser.error(f"{arguments.set} has too few texts to tell")
    texts = [splits.train[i].text for i in chosen_N]
    for base in arguments.bases:
        share = probe.knows(find_base(base).folder, texts, true_N[chosen_N])
        print(f"{arguments.set}, {base}: {100 * share:.2f} % of {len(texts):,} texts told", flush=True)


if __name__ == "__main__":
    main()
