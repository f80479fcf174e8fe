"""Texts that repeat each other: exactly, as a model reads them (text/same.py), or nearly; within a part and across.

Near duplicates are those whose runs of three words (of characters, in Chinese) are the same to four fifths (Jaccard's
index). They are found with `datasketch`: MinHash signatures (Broder 1997) in an LSH index; each pair that it proposes
is then compared exactly. A text that is close to an earlier one is not indexed itself, so a thousand copies of a form
letter make a thousand pairs, not half a million.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from filbert.records import Example
from filbert.text.same import cleaned, same_key

BANDS, ROWS = 12, 5  # of a signature: 99.1 % of pairs at 0.8 meet in a band, 3 % of those at 0.3
RUN = 3  # words that are compared together
SHORTEST = 8  # words of a text that is compared: of fewer, one changed word already makes another text
LONGEST = 2_000  # words of a text that are compared
CLOSE = 0.8
CANDIDATES = 10  # compared exactly for one text
MOST = 60_000  # texts in the index, some 300 MB


@dataclass(frozen=True)
class Repeats:
    """Which texts of train, and of the parts held out, were met before; numbers count the texts of a part."""

    word_for_word: list[tuple[int, int]] = field(default_factory=list)
    """(copy, first) within train."""
    alike: list[tuple[int, int]] = field(default_factory=list)
    """(copy, first) within train, equal but for case, accents, blanks or characters that show nothing."""
    contradictory: list[list[int]] = field(default_factory=list)
    """Groups of texts of train that a model reads alike and that have different targets."""
    shared: dict[str, list[tuple[int, int, bool]]] = field(default_factory=dict)
    """By part: (its text, the same one in train, whether word for word)."""


def repeats(train: Sequence[Example], parts: dict[str, Sequence[Example]]) -> Repeats:
    """Find the texts that repeat another one, within train and between train and each other part.

    >>> found = repeats([Example(("Good.",), "a"), Example(("good.",), "b")], {"test": [Example(("Good.",))]})
    >>> found.alike, found.contradictory, found.shared
    ([(1, 0)], [[0, 1]], {'test': [(0, 0, True)]})
    """
    found = Repeats()
    exact: dict[tuple[str, ...], int] = {}
    groups: dict[bytes, list[int]] = {}
    for at, example in enumerate(train):
        group = groups.setdefault(same_key(example.inputs), [])
        if example.inputs in exact:
            found.word_for_word.append((at, exact[example.inputs]))
        else:
            exact[example.inputs] = at
            if group:
                found.alike.append((at, group[0]))
        group.append(at)
    for members in groups.values():
        if len(members) > 1 and len({str(train[at].target) for at in members}) > 1:
            found.contradictory.append(members)
    for name, part in parts.items():
        shared = [
            (at, exact.get(example.inputs, known[0]), example.inputs in exact)
            for at, example in enumerate(part)
            if (known := groups.get(same_key(example.inputs)))
        ]
        if shared:
            found.shared[name] = shared
    return found


def near_duplicates(
    texts: Sequence[Sequence[str]], told: Callable[[int], None] = lambda done: None
) -> list[tuple[int, int, float]]:
    """Return (text, an earlier text, Jaccard's index) for each text that is close to an earlier one, but not the same.

    `texts` are inputs, one or two each; a pair of texts is compared as one. `told` hears how many are done.

    >>> one = "The parcel came on Monday, and the box was wet, torn and empty."
    >>> near_duplicates([(one,), (one.replace("Monday", "Friday") * 3,), (f"Well: {one}",)])[0][:2]  # doctest: +SKIP
    (2, 0)
    """
    from datasketch import MinHash, MinHashLSH

    blank = MinHash(num_perm=BANDS * ROWS, hashfunc=int)
    index = MinHashLSH(num_perm=BANDS * ROWS, params=(BANDS, ROWS))
    found: list[tuple[int, int, float]] = []
    seen: set[bytes] = set()
    for at, inputs in enumerate(texts):
        key = same_key(inputs)
        shingles = _shingles(inputs) if key not in seen else set()
        seen.add(key)
        if shingles:
            signature = blank.copy()
            signature.update_batch(shingles)
            close = [(_jaccard(shingles, _shingles(texts[i])), -i) for i in sorted(index.query(signature))[:CANDIDATES]]
            best, earlier = max(close, default=(0.0, 0))
            if best >= CLOSE:
                found.append((at, -earlier, best))
            else:
                index.insert(at, signature)
        told(at + 1)
    return found


def _shingles(inputs: Sequence[str]) -> set[int]:
    """Return the hashes of the runs of words; none for a text too short to be compared."""
    words = [word for text in inputs for word in cleaned(text).split()[:LONGEST]]
    if len(words) < SHORTEST:
        return set()
    runs = (" ".join(words[at : at + RUN]) for at in range(len(words) - RUN + 1))
    return {zlib.crc32(run.encode()) for run in runs}


def _jaccard(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)
