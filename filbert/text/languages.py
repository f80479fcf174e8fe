"""Which language a text is in, roughly: by its letters, and for Latin ones by a dozen frequent words. Not a classifier.

It is for saying "12 of 800 texts are in another language than the others", so what it cannot tell it does not say.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

READ = 400  # characters of a text
FEWEST = 8  # words of a text in Latin letters, to tell the language by
CLEAR = 3  # frequent words of the language it is in, at least
UNKNOWN = ""

_SCRIPTS = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean", "LATIN": "Latin"}
_WORDS = {  # but for the English ones none is an English word: "o", "as" and "do" made English texts Portuguese
    "English": "the and of to is that it was for with this you not are have",
    "German": "der das und ist nicht ein eine zu mit auf sich den von für im",
    "French": "le les et est une des du dans pour pas vous il nous qui avec",
    "Spanish": "el los las y es una del por con como más su pero muy está",
    "Italian": "il gli è della di per sono nel si anche che più molto questo alla",
    "Portuguese": "os não uma em um com são mais também pelo muito você está foi isso",
    "Dutch": "het een van niet dat op voor zijn ik er maar ook wij deze naar",
}
CODES = {  # ISO 639-1
    "English": "en", "German": "de", "French": "fr", "Spanish": "es", "Italian": "it", "Portuguese": "pt",
    "Dutch": "nl", "Chinese": "zh", "Japanese": "ja", "Korean": "ko",
}  # fmt: skip
SHARE = 0.2  # of the texts whose language can be told, from which on it is one of theirs
_FREQUENT = {language: frozenset(words.split()) for language, words in _WORDS.items()}


def language_of(text: str) -> str:
    """Return the language of a text, or its script ("Cyrillic"); an empty string where it cannot be told.

    >>> language_of("The room was clean and the staff was kind to us."), language_of("房间干净")
    ('English', 'Chinese')
    >>> language_of("Das Zimmer war sauber und die Leute nicht unfreundlich."), language_of("Комната чистая")
    ('German', 'Cyrillic')
    >>> language_of("ok 123")
    ''
    """
    head = text[:READ]
    scripts = Counter(script for c in head if c.isalpha() and (script := _script(c)))
    if not scripts:
        return UNKNOWN
    if scripts["Japanese"] > 0.1 * scripts.total():
        return "Japanese"
    script = scripts.most_common(1)[0][0]
    if scripts["Chinese"] >= 0.3 * scripts.total() and script == "Latin":
        return "Chinese"  # product names are in Latin letters
    return script if script != "Latin" else _latin(head)


def codes(texts: Sequence[str], sample: int = 1_000) -> list[str]:
    """Return the ISO codes of the languages that many of these texts are in, the most frequent first.

    >>> codes(["房间干净", "早餐很好", "The room was clean and the staff was kind to us."])
    ['zh', 'en']
    """
    told = Counter(map(language_of, texts[:: max(1, len(texts) // sample)]))
    del told[UNKNOWN]
    return [CODES[name] for name, many in told.most_common() if many >= SHARE * told.total() and name in CODES]


def _latin(text: str) -> str:
    words = re.findall(r"[^\W\d_]+", text.lower())
    if len(words) < FEWEST:
        return UNKNOWN
    hits = Counter({language: sum(word in known for word in words) for language, known in _FREQUENT.items()})
    (first, most), (_, next_most) = hits.most_common(2)
    return first if most >= CLEAR and most > next_most else UNKNOWN


@lru_cache(maxsize=100_000)
def _script(character: str) -> str:
    name = unicodedata.name(character, "").split(" ")[0].split("-")[0]
    return _SCRIPTS.get(name, name.capitalize())
