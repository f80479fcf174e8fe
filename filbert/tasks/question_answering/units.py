"""Words, and Chinese characters, with their places: what answers are counted in before there are word pieces."""

from __future__ import annotations

import re

UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"  # no blank ends a word in these
UNIT = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\\W\u3400-\u9fff\uf900-\ufaff]+")


def units(text: str) -> list[tuple[str, int, int]]:
    """Return each word or Chinese character in lower case, where it begins and where it ends.

    >>> units("光荣 Navy,")
    [('光', 0, 1), ('荣', 1, 2), ('navy', 3, 7)]
    """
    return [(match.group().lower(), match.start(), match.end()) for match in UNIT.finditer(text)]


def border(text: str) -> str:
    """Return a pattern for a text that neither begins nor ends inside of a word; in Chinese it may stand anywhere.

    >>> re.search(border("art"), "The party saw art.").start(), re.search(border("art"), "北京art展").start()
    (14, 2)
    """
    letter = rf"[^\W_{UNSPACED}]"
    before = rf"(?<!{letter})" if re.match(letter, text) else ""
    after = rf"(?!{letter})" if re.match(letter, text[-1:]) else ""
    return before + r"\s+".join(map(re.escape, text.split())) + after
