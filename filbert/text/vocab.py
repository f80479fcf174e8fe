"""Learn a WordPiece vocabulary from a stream of texts, with the `tokenizers` library's trainer.

Han characters stand alone, letters are lower-cased or not as told, and the rules travel with the tokenizer. The texts
are read twice and never held. What grows is one count per distinct word, which the trainer keeps; so that this ends
somewhere, a corpus of more than 500 million characters gives it every second text, or every third, and so on.

The same texts give the same vocabulary, which the trainer alone does not promise: it breaks ties by ids that it hands
out in the order of a hash table. So every single-character piece has its id before it starts, and it may add none.
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

# Which characters are kept: the commonest that make up this share of the corpus' Han text, and of all other text, each
# on its own, so that neither language pushes the other out. A lost Han character is one unknown token, a lost letter
# takes its word along. Measured on 12 MB each of English and Chinese Wikipedia with 16,000 pieces: 5,709 of 7,654 Han
# characters stay, English words get more than half of the vocabulary, and of held-out tokens 0.03 % (English) and
# 0.17 % (Chinese) are unknown; a Han share of 0.995 gives 0.47 % for 2 % shorter English.
HAN_SHARE = 0.999
OTHER_SHARE = 0.9999
MOST = 500_000_000  # characters for the trainer, about: 0.8 GB with two languages
MEASURED = 5_000_000  # characters that the share of [UNK] is measured on
EVERY = 1000  # texts between two words of progress


def learn(
    texts: Iterable[str],
    size: int = 16_000,
    *,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    watch: Watcher | None = None,
) -> Tokenizer:
    """Learn at most `size` word pieces, special tokens included, and return the tokenizer.

    `texts` is read twice, so it is a list or anything else that begins anew when iterated again; `strip_accents` None
    means: as `lowercase`. Single characters fill at most half of the vocabulary, the commonest first, and what words
    leave of the rest: a vocabulary of Chinese holds characters alone. Raises
    ConfigError for an iterator, which one pass uses up, and DataError where the texts hold no word at all.

    >>> len(learn(["the cat sat on the mat"] * 9, size=40)) <= 40
    True
    """
    if iter(texts) is texts:
        raise ConfigError(
            "texts — is an iterator, used up after one pass of two — give a list, or a class with __iter__"
        )
    watch = watch or Silent()
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    seen: Counter[str] = Counter()
    count = characters = 0
    for text in _told(texts, "counting characters", 0, watch):
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
    some = islice(_told(texts, "learning word pieces", count, watch), 0, None, max(1, math.ceil(characters / MOST)))
    backend.train_from_iterator(some, trainer)
    learned = sorted(set(backend.get_vocab()) - set(pieces), key=lambda token: (len(token), token))
    more = _singles(counts, backend, most=size - len(SPECIALS) - len(learned))  # Han makes no words to fill it
    held = set(pieces)
    pieces += [piece for piece in more if piece not in held]
    return Tokenizer.from_vocab([*pieces, *learned], lowercase=lowercase, strip_accents=strip_accents)


def unknown_share(tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    """Return the share, 0 to 1, of the word pieces of texts that are [UNK], by as many texts as have 5 MB.

    >>> unknown_share(Tokenizer.from_vocab([*SPECIALS, "chess"]), ["chess", "chess 象棋 chess"])
    0.4
    """
    pieces = unknown = 0
    left = MEASURED
    for some in grouped(texts, len, 100_000):
        for encoding in tokenizer.encode(some):
            pieces += len(encoding.ids)
            unknown += int((encoding.ids == tokenizer.unk).sum())
        left -= sum(map(len, some))
        if left < 0:
            break
    return unknown / max(1, pieces)


def _told(texts: Iterable[str], stage: str, total: int, watch: Watcher) -> Iterator[str]:
    """Pass texts on without lone surrogates, which are no UTF-8, and tell how far it is."""
    for done, text in enumerate(texts):
        if done % EVERY == 0:
            watch.progress(stage, done, total)
        yield text.encode("utf-8", "ignore").decode("utf-8")


def _normalised(seen: Counter[str], backend: Backend) -> Counter[str]:
    """Count what the normalizer makes of each character: it sees one at a time, so this equals counting its texts."""
    made: Counter[str] = Counter()
    for character, count in seen.items():
        for c in backend.normalizer.normalize_str(character):
            if not c.isspace():
                made[c] += count
    return made


def _singles(seen: Counter[str], backend: Backend, *, most: int) -> list[str]:
    """Return the one-character pieces, "a" and where it can stand inside a word "##a", in a fixed order."""
    han = {c for c in seen if len(backend.normalizer.normalize_str(c)) > 1}  # it sets them apart by spaces
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
