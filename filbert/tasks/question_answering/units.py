"""Words, and Chinese characters, with their places: what answers are counted in before there are word pieces."""

from __future__ import annotations

import re

UNIT = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]|[^\\W\u3400-\u9fff\uf900-\ufaff]+")


def units(text: str) -> list[tuple[str, int, int]]:
    """Return each word or Chinese character in lower case, where it begins and where it ends.

    >>> units("光荣 Navy,")
    [('光', 0, 1), ('荣', 1, 2), ('navy', 3, 7)]
    """
    return [(match.group().lower(), match.start(), match.end()) for match in UNIT.finditer(text)]
