"""What pre-training needs before its first step, made from the corpora once and kept beside the checkpoints.

    corpora → vocabulary → shards → (random starts) the first word vectors

Every process of a run, and every resumption of it, finds the same there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from filbert.bases.find import find_base
from filbert.config import EncoderConfig, PretrainConfig
from filbert.corpus.pool import Pool
from filbert.corpus.shards import Shards, write_shards
from filbert.corpus.word_vectors import word_vectors
from filbert.errors import ConfigError
from filbert.files import write_tensors
from filbert.progress import Watcher
from filbert.readers.documents import UNWANTED, Corpus
from filbert.text.chinese import word_starts
from filbert.text.sentences import split
from filbert.text.tokenizer import Tokenizer
from filbert.text.vocab import learn

COUNTED_TOKENS = 50e6  # for the first word vectors: half a minute
WORDS = "words.safetensors"  # these vectors


@dataclass(frozen=True)
class Start:
    """What a run begins with: random weights of a size, or a base model; and the words it knows."""

    base: str | None = None
    """Base model to go on from; None: a random start."""
    size: str = "mini"
    """Shape of a random start: tiny, mini, small, medium, base or large."""
    vocabulary: Path | None = None
    """Folder of a tokenizer; None: the base's, or one learned from the corpora."""
    vocabulary_size: int = 16_000
    """Word pieces of a learned vocabulary, special tokens included."""
    lowercase: bool = True
    """Whether a learned vocabulary folds capitals and accents."""
    position: str = "learned"
    """Positions of a random start: `learned` or `sinusoidal`."""
    drawn: bool = False
    """Draw all weights of a random start, as in the paper; else word vectors (cooccurrence.py) and the head's bias are
    counted, and learned positions begin as waves."""

    def __post_init__(self) -> None:
        EncoderConfig.of_size(self.size, 1000)
        EncoderConfig(1000, position=self.position)
        if self.vocabulary_size < 100:
            raise ConfigError(f"vocabulary_size is {self.vocabulary_size} — give at least 100")
        if self.base is not None and self.vocabulary is not None:
            raise ConfigError("a base brings its own vocabulary — leave out one of the two")

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a stopped run to go on."""
        return {**asdict(self), "vocabulary": self.vocabulary and str(self.vocabulary)}


def corpus_folder(work: Path, number: int) -> Path:
    """Return where the shards of a corpus are kept, the first corpus being number 0."""
    return work / f"corpus-{number:03d}"


def tokenizer_of(corpora: Sequence[Corpus], start: Start, work: Path, watch: Watcher) -> Tokenizer:
    """Return the vocabulary of the run, kept beside the shards so that every process and every resumption has it."""
    kept = work / "tokenizer"
    if (kept / "tokenizer.json").is_file():
        return Tokenizer.from_folder(kept)
    if start.vocabulary is not None:
        tokenizer = Tokenizer.from_folder(start.vocabulary)
    elif start.base is not None:
        folder = find_base(start.base).folder
        assert folder is not None  # checked at the start
        tokenizer = Tokenizer.from_folder(folder)
    else:
        watch.say(f"learning a vocabulary of {start.vocabulary_size:,} word pieces")
        tokenizer = learn(Paragraphs(corpora), start.vocabulary_size, lowercase=start.lowercase, watch=watch)
    draft = work / "tokenizer.part"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    tokenizer.save(draft, 512)
    draft.rename(kept)
    return tokenizer


class Paragraphs:
    """Everything the corpora hold, streamed, paragraph by paragraph, and again each time it is asked for."""

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        self.corpora = corpora

    def __iter__(self) -> Iterator[str]:
        for corpus in self.corpora:
            for document in corpus.documents():
                yield from document.paragraphs


def shards_of(
    corpora: Sequence[Corpus], tokenizer: Tokenizer, config: PretrainConfig, work: Path, watch: Watcher
) -> list[Shards]:
    """Tokenise each corpus into shards under `work`, or go on with those that are there, and say what was found."""
    found = []
    for number, corpus in enumerate(corpora):
        for line in corpus.found:
            watch.say(line)
        shards = write_shards(
            corpus,
            corpus_folder(work, number),
            tokenizer=tokenizer,
            sentences=split,
            word_starts=word_starts if config.whole_words else None,
            watch=watch,
        )
        facts = shards.facts
        watch.say(
            f"{corpus.name}: {facts['documents']:,} documents, {facts['sentences']:,} sentences, "
            f"{facts['tokens']:,} tokens; {facts['duplicates']:,} duplicates left out"
        )
        if left_out := corpus.notes[UNWANTED]:
            watch.say(f"{corpus.name}: {left_out:,} {UNWANTED}, which the model will be tested on")
        found.append(shards)
    return found


def words_of(pool: Pool, tokenizer: Tokenizer, start: Start, work: Path, *, seed: int, watch: Watcher) -> Tensor | None:
    """Return the word vectors that a random start begins with, kept beside the shards; None where they are drawn."""
    kept = work / WORDS
    if start.base is not None or start.drawn:
        return None
    if not kept.is_file():
        watch.say("counting which tokens stand near which, for the first word vectors")
        width = EncoderConfig.of_size(start.size, len(tokenizer)).hidden
        vectors_VD = word_vectors(pool.blocks(COUNTED_TOKENS), pool.counts(len(tokenizer)), width, seed)
        write_tensors(kept, {"words": vectors_VD})
    return load_file(str(kept))["words"]
