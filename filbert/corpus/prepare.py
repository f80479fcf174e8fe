"""Prepare the corpora before the first step of pre-training.

    corpora → vocabulary → shards → word vectors for randomly initialised models

The results are saved beside the checkpoints, where other processes and a resumed run read them.
"""

from __future__ import annotations

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
from filbert.errors import ConfigError, ModelError, counted
from filbert.files import files_sha256, read_sealed, sha256, write_sealed, write_tensors
from filbert.progress import Watcher
from filbert.readers.documents import UNWANTED, Corpus
from filbert.text.chinese import word_starts
from filbert.text.sentences import split
from filbert.text.tokenizer import VOCABULARY, Tokenizer
from filbert.text.vocab import learn

MAX_PIECES = 10**6  # of a vocabulary
COUNTED_TOKENS = 50e6  # for the word vectors, at most; takes half a minute
WORD_VECTORS = "words/words.safetensors"
SEAL = "sealed.json"  # the SHA-256 of the other files of a folder
TOKENIZER = "tokenizer"  # folder of the vocabulary


def check_vocabulary_size(size: int) -> None:
    """Raise ConfigError for a vocabulary size out of range.

    >>> check_vocabulary_size(16_000)
    """
    if not 100 <= size <= MAX_PIECES:
        raise ConfigError(
            f"the vocabulary size is {size:,} — give at least 100, at most {MAX_PIECES:,}; 16,000 suits a corpus in "
            "two languages"
        )


@dataclass(frozen=True)
class Start:
    """What a run starts from: random weights of a size, or a base model; and the vocabulary."""

    base: str | None = None
    """Base model, by name or folder; None: random weights."""
    size: str = "mini"
    """Size of a model with random weights: tiny, mini, small, medium, base or large."""
    vocabulary: Path | None = None
    """Folder of a tokenizer; None: the base's, or one learned from the corpora."""
    vocabulary_size: int = 16_000
    """Word pieces of a learned vocabulary, special tokens included."""
    lowercase: bool = True
    """Whether a learned vocabulary is lower-cased and without accents."""
    position: str = "learned"
    """Position embeddings of a model with random weights: `learned` or `sinusoidal`."""
    random_init: bool = False
    """Initialise all weights at random, as in the paper. By default the token embeddings are word vectors
    (word_vectors.py), the bias of the masked-token head is the tokens' frequencies, and learned positions start as
    sinusoids."""

    def __post_init__(self) -> None:
        EncoderConfig.of_size(self.size, 1000)
        EncoderConfig(1000, position=self.position)
        check_vocabulary_size(self.vocabulary_size)
        if self.base is not None and self.vocabulary is not None:
            raise ConfigError("a base has its own vocabulary — leave out one of the two")

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a stopped run to be resumed, a base and a vocabulary by their content."""
        words = None if self.vocabulary is None else files_sha256(self.vocabulary, VOCABULARY)
        base = None if self.base is None else find_base(self.base).sha256
        vocabulary = None if self.vocabulary is None else str(self.vocabulary)
        return {**asdict(self), "vocabulary": vocabulary, "vocabulary_sha256": words, "base_sha256": base}


def corpus_folder(work: Path, number: int) -> Path:
    """Return the folder of a corpus' shards; numbers start from 0."""
    return work / f"corpus-{number:03d}"


def tokenizer_of(corpora: Sequence[Corpus], start: Start, work: Path, watch: Watcher) -> Tokenizer:
    """Return the run's tokenizer, saved in `work`: the one given, the base's, or one learned from the corpora."""
    kept = work / TOKENIZER
    if _is_whole(kept):
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
    kept.mkdir(parents=True, exist_ok=True)
    tokenizer.save(kept, 512)
    _seal(kept)
    return tokenizer


def _seal(folder: Path) -> None:
    """Write down the SHA-256 of what lies in a folder: it is complete."""
    (folder / SEAL).unlink(missing_ok=True)
    names = [path.name for path in folder.iterdir() if path.is_file()]
    write_sealed(folder / SEAL, {name: sha256(folder / name) for name in names})


def _is_whole(folder: Path) -> bool:
    """Say whether a folder is complete, and holds what it was sealed with; else it is made anew, the same again."""
    try:
        return all(sha256(folder / name) == digest for name, digest in read_sealed(folder / SEAL).items())
    except (ModelError, OSError):
        return False


class Paragraphs:
    """Iterable over the paragraphs of all documents of the corpora, read from the files each time."""

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        self.corpora = corpora

    def __iter__(self) -> Iterator[str]:
        for corpus in self.corpora:
            for document in corpus.documents():
                yield from document.paragraphs


def shards_of(
    corpora: Sequence[Corpus], tokenizer: Tokenizer, config: PretrainConfig, work: Path, watch: Watcher
) -> list[Shards]:
    """Tokenise each corpus into shards in `work`, unless that is done, and report its size."""
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
            f"{corpus.name}: {counted(facts['documents'], 'document')}, {counted(facts['sentences'], 'sentence')}, "
            f"{facts['tokens']:,} tokens; {counted(facts['duplicates'], 'duplicate')} left out"
        )
        if left_out := corpus.notes[UNWANTED]:
            watch.say(f"{corpus.name}: {left_out:,} {UNWANTED}: the model will be tested on them")
        found.append(shards)
    return found


def initial_vectors(
    pool: Pool, tokenizer: Tokenizer, start: Start, work: Path, *, seed: int, watch: Watcher
) -> Tensor | None:
    """Return the initial word vectors, saved in `work`; None for a base model or with `random_init`."""
    kept = work / WORD_VECTORS
    if start.base is not None or start.random_init:
        return None
    if not _is_whole(kept.parent):
        watch.say("counting co-occurring tokens for the initial word vectors")
        width = EncoderConfig.of_size(start.size, len(tokenizer)).hidden
        vectors_VD = word_vectors(pool.blocks(COUNTED_TOKENS), pool.counts(len(tokenizer)), width, seed)
        kept.parent.mkdir(exist_ok=True)
        write_tensors(kept, {"words": vectors_VD})
        _seal(kept.parent)
    return load_file(str(kept))["words"]
