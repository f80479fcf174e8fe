"""Learn a WordPiece vocabulary from a stream of texts, with the `tokenizers` library's trainer.

Each Han character is a word. The texts are read twice and never kept in memory; the trainer keeps one count per
distinct word. To bound that, of a corpus of more than 500 million characters it gets every second text, or every third,
and so on.

The same texts give the same vocabulary. The trainer alone does not guarantee that: it breaks ties by ids, assigned in
the order of a hash table. So every single-character piece has its id before training, and the trainer may add none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, trainers

from filbert.errors import ConfigError, DataError, Place, Problem
from filbert.progress import Silent, Watcher
from filbert.text.tokenizer import SPECIALS, Tokenizer, grouped

# The characters kept: the commonest that make up this share of the corpus' Han text and, separately, of all other text,
# so that neither language displaces the other. A missing Han character is one unknown token, a missing letter makes its
# whole word unknown. Measured on 12 MB each of English and Chinese Wikipedia with 16,000 pieces: 5,709 of 7,654 Han
# characters stay, English words get more than half of the vocabulary, and of held-out tokens 0.03 % (English) and
# 0.17 % (Chinese) are unknown; a Han share of 0.995 gives 0.47 % for 2 % shorter English.
HAN_SHARE = 0.999
OTHER_SHARE = 0.9999
MAX_CHARACTERS = 500_000_000  # for the trainer, about: 0.8 GB with two languages
MEASURED_CHARACTERS = 5_000_000  # on which the share of [UNK] is measured
PROGRESS_TEXTS = 1000  # between two reports of progress


def learn(
    texts: Iterable[str],
    size: int = 16_000,
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    watch: Watcher | None = None,
) -> Tokenizer:
    """Learn at most `size` word pieces, special tokens included, and return the tokenizer.

    `texts` is iterated twice: a list, or an object with `__iter__`. `strip_accents` None means: as `lowercase`. Single
    characters fill half of the vocabulary, the commonest first, and what words leave of the rest: of Chinese texts it
    holds only characters. Raises ConfigError for an iterator, which can be read only once, and DataError where the
    texts hold no word.

    >>> len(learn(["the cat sat on the mat"] * 9, size=40)) <= 40
    True
    """
    if iter(texts) is texts:
        raise ConfigError(
            "texts — is an iterator, which can be read only once, not twice — give a list, or an object with __iter__"
        )
    watch = watch or Silent()
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    seen: Counter[str] = Counter()
    count = characters = 0
    for text in _with_progress(texts, "counting characters", 0, watch):
        seen.update(text)
        count += 1
        characters += len(text)
    counts = _normalised(seen, backend)
    singles = _singles(counts, backend, most=size // 2 - len(SPECIALS))
    if not singles:
        problem = Problem(Place("the corpus"), "text", "holds no word to learn from", "give texts with words")
        raise DataError([problem])
    pieces = [*SPECIALS, *singles]
    trainer = trainers.WordPieceTrainer(
        vocab_size=max(size, len(pieces)),
        special_tokens=pieces,
        limit_alphabet=0,  # no character but those in `pieces`
        show_progress=False,
        continuing_subword_prefix="##",
    )
    some = islice(
        _with_progress(texts, "learning word pieces", count, watch),
        0,
        None,
        max(1, math.ceil(characters / MAX_CHARACTERS)),
    )
    backend.train_from_iterator(some, trainer)
    learned = sorted(set(backend.get_vocab()) - set(pieces), key=lambda token: (len(token), token))
    more = _singles(counts, backend, most=size - len(SPECIALS) - len(learned))  # Han makes no words to fill it
    held = set(pieces)
    pieces += [piece for piece in more if piece not in held]
    return Tokenizer.from_vocab([*pieces, *learned], lowercase=lowercase, strip_accents=strip_accents)


def unknown_share(tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    """Return the share, 0 to 1, of the word pieces of texts that are [UNK], measured on 5 million characters.

    >>> unknown_share(Tokenizer.from_vocab([*SPECIALS, "chess"]), ["chess", "chess 象棋 chess"])
    0.4
    """
    pieces = unknown = 0
    left = MEASURED_CHARACTERS
    for some in grouped(texts, len, 100_000):
        for encoding in tokenizer.encode(some):
            pieces += len(encoding.ids)
            unknown += int((encoding.ids == tokenizer.unk).sum())
        left -= sum(map(len, some))
        if left < 0:
            break
    return unknown / max(1, pieces)


def _with_progress(texts: Iterable[str], stage: str, total: int, watch: Watcher) -> Iterator[str]:
    """Yield texts without lone surrogates, which UTF-8 cannot encode, and report progress."""
    for done, text in enumerate(texts):
        if done % PROGRESS_TEXTS == 0:
            watch.progress(stage, done, total)
        yield text.encode("utf-8", "ignore").decode("utf-8")


def _normalised(seen: Counter[str], backend: Backend) -> Counter[str]:
    """Return the counts of normalised characters: the normalizer works on single characters, so this is exact."""
    made: Counter[str] = Counter()
    for character, count in seen.items():
        for c in backend.normalizer.normalize_str(character):
            if not c.isspace():
                made[c] += count
    return made


def _singles(seen: Counter[str], backend: Backend, *, most: int) -> list[str]:
    """Return the one-character pieces, "a" and, where it can be inside a word, "##a", in a fixed order."""
    han = {c for c in seen if len(backend.normalizer.normalize_str(c)) > 1}  # it puts spaces around them
    kept = _cover({c: seen[c] for c in han}, HAN_SHARE)
    kept += _cover({c: n for c, n in seen.items() if c not in han}, OTHER_SHARE)
    chosen: list[str] = []
    for c in sorted(kept, key=lambda c: (-seen[c], c)):
        inside = c not in han and len(backend.pre_tokenizer.pre_tokenize_str("a" + c)) == 1
        pieces = [c, "##" + c] if inside else [c]
        if chosen and len(chosen) + len(pieces) > most:
            break
        chosen += pieces
    return sorted(chosen, key=lambda piece: (len(piece), piece))


def _cover(counts: dict[str, int], share: float) -> list[str]:
    """Return the commonest characters that make up a share of the text, ties in the order of the code points."""
    wanted = share * sum(counts.values())
    kept: list[str] = []
    for c in sorted(counts, key=lambda c: (-counts[c], c)):
        if wanted <= 0:
            break
        kept.append(c)
        wanted -= counts[c]
    return kept
