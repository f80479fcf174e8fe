"""Whether a text has a visible character."""

from __future__ import annotations

import re
import unicodedata

# letters and digits without the Hangul fillers, which are invisible
_VISIBLE = re.compile(r"[^\W\u3164\u115f\u1160\uffa0]")
_INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"}


def visible(text: str) -> bool:
    r"""Return whether a text has a visible character: not white space, zero-width or control.

    >>> visible("\u200b \t"), visible("好"), visible("👍")
    (False, True, True)
    """
    if _VISIBLE.search(text):
        return True
    return any(unicodedata.category(c) not in _INVISIBLE and c not in "\u2800\u3164\u115f\u1160\uffa0" for c in text)
