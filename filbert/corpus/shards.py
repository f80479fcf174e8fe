"""Tokenise a corpus once to files on disk, which are then read as memory-mapped arrays.

Documents are split into sentences, tokenised in batches and appended to four raw files; duplicate documents are left
out. After every four million tokens or so the files are flushed and their lengths written to a progress file. After a
crash the files are truncated to these lengths, the corpus is read again up to there without tokenising and compared by
its hash, and writing continues: the files are the same as without the crash. The manifest is written last; a folder
that has one is complete. Progress file and manifest hold the SHA-256 of the files, and their own.

Memory grows with the corpus only by 8 bytes a document, the hash that finds duplicates.

Shapes: T tokens, S sentences, D documents, V tokens of the vocabulary, N tokens of a batch.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from filbert.errors import ConfigError, DataError, ModelError
from filbert.files import read_sealed, write_sealed
from filbert.progress import Watcher
from filbert.readers.documents import Corpus, Document
from filbert.readers.ledger import fatal
from filbert.records import Encoding

MANIFEST, PROGRESS = "shards.json", "progress.json"
FORMAT = 2  # to be raised when the same corpus would give other files
FLUSH_TOKENS = 4_000_000  # between two flushes, at least: some seconds of work
BATCH_CHARACTERS = 1_000_000  # tokenised at once, at least: 60 MB of encodings
BLOCK = 1 << 20  # bytes read at once
REREAD_DOCUMENTS = 10_000  # between two reports of progress while a resumed run reads again
PROBE = "Äé ǅ ß İ 漢字 R&B don't ﬁ \u200b１ ##a [MASK]"  # tokenised differently by different rules

# the facts that must be equal for a resumed run, and the counts
IDENTITY = ("format", "corpus_fingerprint", "vocabulary", "word_starts")
COUNTS = ("documents", "duplicates", "empty", "sentences", "tokens", "characters", "unknown")

Sentences = Callable[[str], list[str]]
WordStarts = Callable[[str], set[int]]


class Encodes(Protocol):
    """The methods of a tokenizer used here."""

    unk: int

    def encode(self, texts: Sequence[str], *, offsets: bool = False) -> list[Encoding]:
        """Turn texts into ids without special tokens."""

    def token(self, number: int) -> str:
        """Return the token of an id."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Shards:
    """A tokenised corpus, memory-mapped.

    Sentence s is `ids_T[sentences_S[s]:sentences_S[s + 1]]`, document d has the sentences from `documents_D[d]` to
    before `documents_D[d + 1]`; both arrays have one entry more than there are sentences or documents.

    >>> shards = open_shards(Path("wiki.shards"))  # doctest: +SKIP
    >>> shards.facts["tokens"], shards.ids_T[:3]  # doctest: +SKIP
    (20461337, memmap([22265, 10986,  1010], dtype=uint16))
    """

    ids_T: npt.NDArray[np.integer[Any]]
    begins_T: npt.NDArray[np.uint8]  # 1 where a token begins a word
    sentences_S: npt.NDArray[np.int64]
    documents_D: npt.NDArray[np.int64]
    facts: dict[str, Any]


def write_shards(
    corpus: Corpus,
    folder: Path,
    *,
    tokenizer: Encodes,
    sentences: Sentences,
    word_starts: WordStarts | None = None,
    watch: Watcher,
) -> Shards:
    """Tokenise a corpus into a folder, or continue after a crash; a finished folder is only opened.

    `word_starts` returns the offsets in a sentence where words begin, for Han characters, each of which is a word
    otherwise. Raises ConfigError where the folder holds another corpus or vocabulary, DataError where the corpus cannot
    be read or has no text.

    >>> write_shards(corpus, Path("wiki"), tokenizer=tokenizer, sentences=split, watch=Silent())  # doctest: +SKIP
    """
    facts: dict[str, Any] = {"format": FORMAT, "corpus": corpus.name, "corpus_fingerprint": corpus.fingerprint()}
    facts |= {"vocabulary": _vocabulary(tokenizer), "vocabulary_size": len(tokenizer)}
    facts |= {"word_starts": word_starts is not None, "read": 0, "digest": "", "sha256": {}, **dict.fromkeys(COUNTS, 0)}
    with _locked(folder):
        for name in (MANIFEST, PROGRESS):
            if (folder / name).exists():
                facts = _checked(folder, _load(folder / name), facts)
                break
        if not (folder / MANIFEST).exists():
            tokenize = _SentenceTokenizer(tokenizer, sentences, word_starts)
            _Writer(folder, facts, tokenize, watch).run(corpus)
            if not facts["tokens"]:
                raise fatal(str(corpus.path), "corpus", "holds no text that gives tokens", "give a corpus with texts")
            write_sealed(folder / MANIFEST, facts)
        (folder / PROGRESS).unlink(missing_ok=True)
        return open_shards(folder)


def open_shards(folder: Path, *, checked: bool = False) -> Shards:
    """Open a finished folder of shards; raises DataError where it is none, or its files are not those it was left with.

    `checked` says that another process compared their SHA-256 already.

    >>> open_shards(Path("wiki.shards")).documents_D[-1]  # doctest: +SKIP
    845120
    """
    if not (folder / MANIFEST).exists():
        begun = (folder / PROGRESS).exists()
        what, todo = ("is not finished", "run the same command again") if begun else ("holds no shards", "write them")
        raise fatal(str(folder), MANIFEST, what, todo)
    facts = _load(folder / MANIFEST)
    arrays = []
    for name, kind, count in _files(facts):
        path, size = folder / name, np.dtype(kind).itemsize * count
        found = path.stat().st_size if path.exists() else 0
        if found != size or not count:
            raise _damaged(path, f"has {found:,} bytes, {size:,} are expected")
        if not checked and _hash(path, size).hexdigest() != facts["sha256"].get(name):
            raise _damaged(path, "is damaged: its SHA-256 is another one")
        arrays.append(np.memmap(path, dtype=kind, mode="r"))
    ids_T, begins_T, sentences_S, documents_D = arrays
    return Shards(ids_T, begins_T, sentences_S, documents_D, facts)


def _files(facts: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return (name, type, entries) of the four files, in the order of Shards."""
    ids = "<u2" if facts["vocabulary_size"] <= 1 << 16 else "<i4"
    return [
        ("ids.bin", ids, facts["tokens"]),
        ("begins.bin", "|u1", facts["tokens"]),
        ("sentences.bin", "<i8", facts["sentences"] + 1),
        ("documents.bin", "<i8", facts["documents"] + 1),
    ]


# --- the folder -----------------------------------------------------------------------------------------------------


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Create the folder and lock it; the system frees the lock of a process that dies."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise ConfigError(
            f"{folder} is being written by another process — wait for it, or choose another folder"
        ) from None


def _checked(folder: Path, there: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Return `there`, the facts of a folder; ConfigError where corpus, vocabulary or rules are not as `wanted`."""
    names = {"format": "format of shards", "corpus_fingerprint": "corpus", "word_starts": "rule for words"}
    others = [names.get(key, key) for key in IDENTITY if there[key] != wanted[key]]
    if others:
        what = f"{folder} holds shards of another {' and another '.join(others)} (of {there['corpus']!r})"
        raise ConfigError(f"{what} — choose another folder, or delete it")
    return there


def _load(path: Path) -> dict[str, Any]:
    try:
        return read_sealed(path)
    except ModelError:
        raise _damaged(path, "is damaged: the SHA-256 of its content is another one") from None


def _damaged(path: Path, wrong: str) -> DataError:
    return fatal(str(path), "file", wrong, f"delete {path.parent}, and the same command writes it again")


def _hash(path: Path, size: int) -> hashlib._Hash:
    """Return the SHA-256 of the first bytes of a file, to go on with."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (piece := file.read(min(size, BLOCK))):
            digest.update(piece)
            size -= len(piece)
    return digest


def _vocabulary(tokenizer: Encodes) -> str:
    """Return a hash of the tokens, and of how the rules on case, accents and Han split them and PROBE."""
    tokens = list(map(tokenizer.token, range(len(tokenizer))))
    digest = blake2b("\n".join(tokens).encode(), digest_size=16)
    for encoding in tokenizer.encode([PROBE, " ".join(tokens).upper(), "\u0301 ".join(tokens), "".join(tokens)]):
        digest.update(encoding.ids.astype("<i4").tobytes())
    return digest.hexdigest()


# --- from documents to tokens ---------------------------------------------------------------------------------------


class _HashSet:
    """A set of 64-bit numbers at 8 bytes each: sorted arrays by the highest byte, so that growing one copies little."""

    def __init__(self) -> None:
        self._sorted = [np.empty(0, np.uint64) for _ in range(256)]
        self._new: set[int] = set()

    def add(self, number: int) -> bool:
        """Add the number; return whether it was new."""
        old = self._sorted[number >> 56]
        at = int(np.searchsorted(old, np.uint64(number)))
        if number in self._new or (at < len(old) and old[at] == number):
            return False
        self._new.add(number)
        if len(self._new) >= 1 << 16:
            self._fold()
        return True

    def _fold(self) -> None:
        new = np.sort(np.fromiter(self._new, np.uint64, len(self._new)))
        bounds = np.searchsorted(new, np.arange(1, 256, dtype=np.uint64) << np.uint64(56))
        for bucket, part in enumerate(np.split(new, bounds)):
            old = self._sorted[bucket]
            self._sorted[bucket] = np.insert(old, np.searchsorted(old, part), part)
        self._new.clear()


@dataclass(frozen=True)
class _Tokens:
    """A tokenised batch of documents, with lengths instead of offsets."""

    ids_N: npt.NDArray[np.int32]
    begins_N: npt.NDArray[np.uint8]
    lengths_S: npt.NDArray[np.int64]  # tokens of each sentence, none of them 0
    counts_D: npt.NDArray[np.int64]  # sentences of each document, none of them 0
    counts: dict[str, int]


class _SentenceTokenizer:
    """Split documents into sentences and tokenise them."""

    def __init__(self, tokenizer: Encodes, sentences: Sentences, word_starts: WordStarts | None) -> None:
        self._tokenizer, self._sentences, self._word_starts = tokenizer, sentences, word_starts
        self._begins_V = np.array([not tokenizer.token(i).startswith("##") for i in range(len(tokenizer))], np.uint8)

    def __call__(self, documents: Sequence[Document]) -> _Tokens:
        cut = [[text for part in document.paragraphs for text in self._sentences(part)] for document in documents]
        texts = [text for texts in cut for text in texts]
        encodings = self._tokenizer.encode(texts, offsets=self._word_starts is not None)
        lengths_S = np.array([len(encoding.ids) for encoding in encodings], np.int64)
        owners_S = np.repeat(np.arange(len(cut)), [len(texts) for texts in cut])
        counts_D = np.bincount(owners_S[lengths_S > 0], minlength=len(cut))
        ids_N = np.concatenate([np.empty(0, np.int32), *(encoding.ids for encoding in encodings)])
        begins_N = self._begins_V[ids_N]
        if self._word_starts is not None:
            inside = [_inside(*pair, self._word_starts) for pair in zip(texts, encodings, strict=True)]
            begins_N[np.concatenate([np.empty(0, bool), *inside])] = 0
        counts = {
            "documents": int((counts_D > 0).sum()),
            "empty": int((counts_D == 0).sum()),
            "sentences": int((lengths_S > 0).sum()),
            "tokens": len(ids_N),
            "characters": sum(map(len, texts)),
            "unknown": int((ids_N == self._tokenizer.unk).sum()),
        }
        return _Tokens(ids_N, begins_N, lengths_S[lengths_S > 0], counts_D[counts_D > 0], counts)


def _inside(text: str, encoding: Encoding, word_starts: WordStarts) -> npt.NDArray[np.bool_]:
    """Return for each token whether it is a Han character that does not begin a word."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    # the blocks whose characters BertNormalizer makes words of their own
    han = (codes >= 0x3400) & (codes <= 0x4DBF) | (codes >= 0x4E00) & (codes <= 0x9FFF)
    han |= (codes >= 0xF900) & (codes <= 0xFAFF) | (codes >= 0x20000) & (codes <= 0x2FA1F)
    if not han.any():
        return np.zeros(len(encoding.ids), bool)
    han[list(word_starts(text))] = False
    return np.asarray(han[encoding.offsets[:, 0]], dtype=bool)


class _Writer:
    """Append to the four files; `facts` hold their valid lengths, and are saved after every flush."""

    def __init__(self, folder: Path, facts: dict[str, Any], tokenize: _SentenceTokenizer, watch: Watcher) -> None:
        self._folder, self._facts, self._tokenize, self._watch = folder, facts, tokenize, watch
        self._unflushed: list[_Tokens] = []
        self._hashes: dict[str, hashlib._Hash] = {}  # of what each file holds so far
        self._started, self._tokens = time.monotonic(), 0

    def run(self, corpus: Corpus) -> None:
        """Read the corpus from its start, and tokenise the documents that the files do not hold yet."""
        self._truncate_files()
        seen, chain = _HashSet(), blake2b(digest_size=16)
        done, batch, size, duplicates = self._facts["read"], [], 0, 0
        for read, document in enumerate(corpus.documents(), 1):
            chain.update(document.key)
            new = seen.add(int.from_bytes(document.key, "little"))
            if read <= done:
                self._report_reread(read, done, chain.hexdigest())
                continue
            duplicates += not new
            if new:
                batch.append(document)
                size += sum(map(len, document.paragraphs))
            if size >= BATCH_CHARACTERS:
                if self._add(batch) >= FLUSH_TOKENS:
                    self._flush(read, chain.hexdigest(), duplicates)
                    duplicates = 0
                batch, size = [], 0
        if corpus.read < done:
            raise self._changed()
        self._add(batch)
        self._flush(corpus.read, chain.hexdigest(), duplicates)

    def _truncate_files(self) -> None:
        for name, kind, count in _files(self._facts):
            path, size = self._folder / name, np.dtype(kind).itemsize * count
            if not self._facts["read"]:
                path.write_bytes(bytes(8) if kind == "<i8" else b"")
            if not path.exists() or path.stat().st_size < size:
                raise _damaged(path, "is shorter than before")
            self._hashes[name] = _hash(path, size)
            if self._facts["read"] and self._hashes[name].hexdigest() != self._facts["sha256"].get(name):
                raise _damaged(path, "is damaged: its SHA-256 is another one")
            os.truncate(path, size)
        if not self._facts["read"]:
            write_sealed(self._folder / PROGRESS, self._facts)

    def _report_reread(self, read: int, done: int, digest: str) -> None:
        if read == done and digest != self._facts["digest"]:
            raise self._changed()
        if read % REREAD_DOCUMENTS == 0:
            self._watch.progress("reading again", read, done)

    def _changed(self) -> ConfigError:
        what = f"the corpus differs from the one that {self._folder} was started with"
        return ConfigError(f"{what} — restore it, or delete the folder to start again")

    def _add(self, batch: Sequence[Document]) -> int:
        """Tokenise a batch and return the number of tokens since the last flush."""
        if batch:
            self._unflushed.append(self._tokenize(batch))
            self._tokens += self._unflushed[-1].counts["tokens"]
            documents = self._facts["documents"] + sum(part.counts["documents"] for part in self._unflushed)
            speed = self._tokens / max(1e-9, time.monotonic() - self._started)
            self._watch.progress("tokenising", documents, 0, tokens_per_second=speed)
        return sum(part.counts["tokens"] for part in self._unflushed)

    def _flush(self, read: int, digest: str, duplicates: int) -> None:
        facts, piece = self._facts, self._unflushed
        at = {"sentences.bin": facts["tokens"], "documents.bin": facts["sentences"]}
        parts: dict[str, list[npt.NDArray[Any]]] = {
            "ids.bin": [part.ids_N for part in piece],
            "begins.bin": [part.begins_N for part in piece],
            "sentences.bin": [part.lengths_S for part in piece],
            "documents.bin": [part.counts_D for part in piece],
        }
        for name, kind, _ in _files(facts):
            array = np.concatenate([np.empty(0, kind), *parts[name]])
            array = array.cumsum() + at[name] if name in at else array
            data = array.astype(kind).tobytes()
            self._hashes[name].update(data)
            with (self._folder / name).open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for part in piece:
            for count, number in part.counts.items():
                facts[count] += number
        facts.update(read=read, digest=digest, duplicates=facts["duplicates"] + duplicates)
        facts["sha256"] = {name: digest.hexdigest() for name, digest in self._hashes.items()}
        write_sealed(self._folder / PROGRESS, facts)
        self._unflushed = []
