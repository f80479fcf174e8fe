"""Peak memory of the stages before pre-training, for a tenth of the Wikipedia texts and for all.

    python bench/corpus_memory.py [--write]

Each stage is a process of its own, and its largest resident size is read: the vocabulary (`filbert vocab`), the shards
(tokens on disk, whole words in English and Chinese), the initial word vectors, and the feed (the plan of an epoch,
the first and the last step's masked texts). Returns 1 where a stage took more than 1 GB.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from records import DATA, HERE
from speeds import circumstances, record, resident

from filbert.readers.documents import open_corpus

RESULTS = HERE / "results" / "corpus_memory.jsonl"
CORPORA = ("enwiki_text_AA.tar.xz", "enwiki_text_AB.tar.xz", "zhwiki_text_AA.tar.xz")
SHARES = (10, 1)  # every tenth document, and every one
MOST = 1000  # MB
OPENED = """
from pathlib import Path
from filbert.readers.documents import open_corpus
from filbert.corpus.shards import open_shards, write_shards
from filbert.text.sentences import split
from filbert.text.tokenizer import Tokenizer
from filbert.text.chinese import word_starts
from filbert.progress import Silent
work = Path({work!r})
tokenizer = Tokenizer.from_folder(work / "vocab")
"""
STAGES = {
    "vocabulary": """
import sys
from filbert.cli import main
sys.argv = ["filbert", "vocab", {corpus!r}, "-o", {work!r} + "/vocab", "--overwrite"]
main()
""",
    "shards": OPENED
    + """
corpus = open_corpus(Path({corpus!r}))
write_shards(
    corpus, work / "shards", tokenizer=tokenizer, sentences=split, word_starts=word_starts, watch=Silent()
)
""",
    "words": OPENED
    + """
from filbert.corpus.word_vectors import word_vectors
from filbert.corpus.pool import Pool
from filbert.corpus.prepare import COUNTED_TOKENS
pool = Pool([open_shards(work / "shards")])
word_vectors(pool.blocks(COUNTED_TOKENS), pool.counts(len(tokenizer)), 256)
""",
    "feed": OPENED
    + """
from filbert.config import PretrainConfig
from filbert.corpus.pool import Pool
from filbert.pretraining.job import CorpusFeed
config = PretrainConfig(batch_tokens=16_384, whole_words=True)
feed = CorpusFeed(Pool([open_shards(work / "shards")]), config, tokenizer)
for step in (0, feed.steps - 1):
    feed.batches(step, 0.0)
""",
}


def write_corpus(path: Path, every: int) -> int:
    """Write every `step`-th document of Wikipedia as JSON lines → characters."""
    characters, number = 0, 0
    with path.open("w", encoding="utf-8") as file:
        for name in CORPORA:
            for document in open_corpus(DATA / "wiki" / name).documents():
                if number % every == 0:
                    text = "\n".join(document.paragraphs)
                    file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                    characters += len(text)
                number += 1
    return characters


def main() -> int:
    """Measure and print; return 1 where a stage takes too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="append to bench/results/corpus_memory.jsonl")
    asked = parser.parse_args()
    sizes: dict[str, list[int]] = {stage: [] for stage in STAGES}
    characters, tokens = [], []
    for every in SHARES:
        with tempfile.TemporaryDirectory() as name:
            corpus = Path(name) / "corpus.jsonl"
            characters.append(write_corpus(corpus, every))
            for stage, code in STAGES.items():
                began = time.monotonic()
                sizes[stage].append(resident(code.format(work=name, corpus=str(corpus)))[0])
                seconds = time.monotonic() - began
                print(f"{characters[-1]:,} characters, {stage}: {sizes[stage][-1]:,} MB, {seconds:,.0f} s", flush=True)
            tokens.append(json.loads((Path(name) / "shards" / "shards.json").read_text(encoding="utf-8"))["tokens"])
    found = {"characters": characters, "tokens": tokens, "megabytes": sizes}
    record(RESULTS, {**found, **circumstances("tokenizers", "torch")}, write=asked.write)
    return int(max(map(max, sizes.values())) > MOST)


if __name__ == "__main__":
    sys.exit(main())
