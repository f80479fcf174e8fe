"""A linear probe on a frozen encoder, as `fit --adapt` does it: logistic regression on the mean token vectors.

    python bench/probe.py SET BASE…        # SET of adapt.py: imdb, ohsumed, unfair_tos

A base is a name, or the folder of a base model.
"""

from __future__ import annotations

import argparse

from adapt import SETS, data_of
from encoders import apart
from labelled import numbers

from filbert.bases.find import find_base
from filbert.finetuning import probe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("bases", nargs="+", metavar="BASE", help="a name, or the folder of a base model")
    arguments = parser.parse_args()
    data, _ = apart(data_of(arguments.set))
    train = data.splits.train
    true_N = numbers(train, data)
    chosen_N = probe.sample(true_N)
    if chosen_N is None:
        parser.error(f"{arguments.set} has too few texts for a linear probe")
    inputs = [train[i].inputs for i in chosen_N]
    for base in arguments.bases:
        accuracy = probe.probe_accuracy(find_base(base).folder, inputs, true_N[chosen_N])
        print(f"{arguments.set}, {base}: accuracy {100 * accuracy:.2f} % on {len(inputs):,} texts", flush=True)


if __name__ == "__main__":
    main()
