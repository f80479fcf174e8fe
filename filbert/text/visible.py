"""Whether anything of a text can be seen."""

from __future__ import annotations

import re
import unicodedata

# letters that show nothing: Hangul fillers; \w alone would take them for text
_SEEN = re.compile(r"[^\W\u3164\u115f\u1160\uffa0]")
_UNSEEN = {"Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"}


def visible(text: str) -> bool:
    r"""Tell whether anything of a text can be seen: white space, zero-width and control characters cannot.

    >>> visible("\u200b \t"), visible("好"), visible("👍")
    (False, True, True)
    """
    if _SEEN.search(text):
        return True
    return any(unicodedata.category(c) not in _UNSEEN and c not in "\u2800\u3164\u115f\u1160\uffa0" for c in text)
