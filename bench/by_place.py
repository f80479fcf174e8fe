"""MLM loss by position in long texts: has a base learned its later positions?

Reviews of IMDb without labels, which no base of ours was pre-trained on, as single texts of up to 512 tokens, 15 % of
the tokens masked, always the same ones for a vocabulary; the mean loss by position, in nats, with its 95 % interval
over texts. Bases of different vocabularies can be compared only by the rise of the loss with the position.

    python bench/by_place.py [BASE…] [--texts 400]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from adapt import write_corpus
from records import DATA

from filbert.bases.find import find_base
from filbert.corpus.pool import Pool
from filbert.corpus.shards import write_shards
from filbert.metrics import intervals
from filbert.pretraining.evaluation import held_out_losses
from filbert.pretraining.folder import load_pretrained
from filbert.pretraining.masking import Masking, features
from filbert.progress import Silent
from filbert.readers.documents import open_corpus
from filbert.readers.sources import open_source
from filbert.text.sentences import split
from filbert.text.tokenizer import Tokenizer

EDGES = (0, 64, 128, 192, 256, 384, 512)  # of the places that are looked at together
REVIEWS = 4_000  # looked through for long ones
BATCH = 16  # texts


def losses_of(folder: Path, texts: int, scratch: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the losses of the masked tokens, the place of each, and the text it stands in."""
    loaded, tokenizer = load_pretrained(folder), Tokenizer.from_folder(folder)
    model = loaded.model.eval()
    if "mlm" not in loaded.heads or model.encoder.config.max_positions < EDGES[-1]:
        sys.exit(f"{folder.name} has no head for masked tokens, or reads less than {EDGES[-1]} — name another base")
    shards = write_shards(
        open_corpus(scratch / "reviews.txt"),
        Path(tempfile.mkdtemp(dir=scratch)),
        tokenizer=tokenizer,
        sentences=split,
        watch=Silent(),
    )
    pool = Pool([shards])
    rows_N5 = pool.plan(EDGES[-1], pairs=False, seed=0, epoch=0)
    rows_N5 = rows_N5[np.argsort(rows_N5[:, 0] - rows_N5[:, 1], kind="stable")[:texts]]  # the longest
    losses, places, owners = [], [], []
    for begin in range(0, len(rows_N5), BATCH):
        numbers = np.arange(begin, min(begin + BATCH, len(rows_N5)))
        masking = Masking.of(tokenizer, 0.15, whole_words=False)
        batch = features(pool, rows_N5[numbers], numbers, tokenizer=tokenizer, masking=masking, key=0)
        assert batch.masked_M is not None
        losses.append(held_out_losses(model, batch, "cpu")[0])
        places.append(batch.positions_T[batch.masked_M])
        owners.append(np.repeat(batch.order_B, np.diff(batch.starts_B))[batch.masked_M] + begin)
    return np.concatenate(losses).astype(np.float64), np.concatenate(places), np.concatenate(owners)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bases", nargs="*", metavar="BASE", default=["filbert-mini"])
    parser.add_argument("--texts", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        found = open_source(DATA / "imdb" / "aclImdb_unsup.tar.xz", labelled=False)
        write_corpus(scratch / "reviews.txt", ((example.text,) for example in islice(found.examples(), REVIEWS)))
        for base in arguments.bases:
            folder = find_base(base).folder
            if folder is None:
                parser.error(f"{base} has random weights — name a pre-trained base")
            losses_M, place_M, text_M = losses_of(folder, arguments.texts, scratch)
            print(f"{base}: {len(np.unique(text_M)):,} texts, {len(losses_M):,} masked tokens")
            for first, last in pairwise(EDGES):
                here_M = (place_M >= first) & (place_M < last)
                score = intervals.grouped_mean(losses_M[here_M], text_M[here_M])
                print(f"  {first:3} to {last - 1:3}: {score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]")


if __name__ == "__main__":
    main()
