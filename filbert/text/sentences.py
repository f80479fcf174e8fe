"""Split text into sentences, in English, Chinese and a mix of both.

One regular expression finds every mark that may end a sentence, with closing quotes and brackets; a few rules look at
the word before and the word after it. No text is changed: the sentences concatenated are the text, except for white
space between them ("<br />" counts as white space). Where a mark is ambiguous ("in the U.S. Army", "in the U.S. He
left"), the next word decides: a small set of words hardly ever follows an abbreviation inside a sentence.
"""

from __future__ import annotations

import re

_MARK = re.compile(
    r"""
      (?P<title> 《[^《》\n\r\v\f\x85\u2028\u2029]{1,60}》 )  # marks inside a title end nothing
    | (?P<line> [\n\r\v\f\x85\u2028\u2029]+ | (?:<[bB][rR]\ ?/?>\s*)+ )
    | (?P<stop> [.!?;…。！？；｡．]+ )(?P<close> (?: ["'”’»」』）》】〉)\]}] | \[\d{1,3}\] )* )
    """,
    re.VERBOSE,
)
_NEXT = re.compile(r"""\s*(?P<open>["'“‘«「『（《【(\[]*)(?P<word>[A-Za-z]+|\d+|.|$)""", re.DOTALL)
_STOPPED = re.compile(r"""[.!?:;…。！？：；｡．](?:["'”’»」』）》】〉)\]}]|\[\d{1,3}\])*$""")
_HARD = re.compile("[。！？；｡]")
_ACRONYM = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # U.S, a.m; not Ph
_ROMAN = re.compile("[IVXLC]{2,}|[VX]")  # "I" alone is more often a person

_WORD = 24  # characters looked at before a mark; longer words are not abbreviations
_GO_ON = frozenset(",;:–—-)&/.?!，、：%=_*+|~@\\]}>")  # characters after a mark that do not begin a sentence
_AFTER_QUOTE = frozenset("的等")  # “加油！”的喊声 continues


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# abbreviations before a name, or inside a sentence: never the end
_NEVER = _set(
    "mr mrs ms messrs mx dr prof rev hon gen sen rep gov pres lt col capt cpt cmdr maj sgt cpl pvt adm supt insp mt"
    " e.g i.e eg ie cf viz vs v approx esp incl resp yahoo"
)
# before a number, as any small letter ("p. 12", "b. 1970"): "No. 5", "Vol. II"; else a word ("The answer is no.")
_NUMBERED = _set(
    "no nos nr pp vol vols fig figs eq eqs ch chap sec sect art arts para ver ca op pt ref refs"
    " jan feb mar apr jun jul aug sep sept oct nov dec"
)
# abbreviations that end a sentence only before a word of _STARTERS
_SOMETIMES = _set(
    "inc ltd co corp llc plc bros jr sr al dept univ assn st ave blvd rd sq ph.d phd m.sc b.sc"
    " fed civ crim app supp cir"
)
_STARTERS = _set(
    "the a an this that these those he she it we they i you his her its our their my your there here what when where"
    " who why how which if in on at by for from with as to but and or so yet however although though while after before"
    " since because during then now once not no yes also both some many most all each every one two other"
)


def split(text: str) -> list[str]:
    """Split a text into sentences, without the white space between them; a line break always ends one.

    >>> split("Dr. Li paid $3.50. 她笑了。“真的？”")
    ['Dr. Li paid $3.50.', '她笑了。', '“真的？”']
    """
    return [text[begin:end] for begin, end in spans(text)]


def spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each sentence, in code points.

    >>> spans("Hello there.  Bye.")
    [(0, 12), (14, 18)]
    """
    found: list[tuple[int, int]] = []
    cased = not text.islower()  # in a text without capitals a lower-case letter means nothing
    begin = 0
    for mark in _MARK.finditer(text):
        if mark.lastgroup == "line":
            _keep(text, begin, mark.start(), found)
            begin = mark.end()
        elif mark.lastgroup == "close" and _ends(text, begin, mark, cased):
            _keep(text, begin, mark.end(), found)
            begin = mark.end()
    _keep(text, begin, len(text), found)
    return found


def _keep(text: str, begin: int, end: int, found: list[tuple[int, int]]) -> None:
    piece = text[begin:end]
    if inner := piece.strip():
        begin += len(piece) - len(piece.lstrip())
        found.append((begin, begin + len(inner)))


def _han(character: str) -> bool:
    return "\u3040" <= character <= "\u9fff" or character >= "\U00020000"  # and kana, whose sentences end alike


def stopped(sentence: str) -> bool:
    """Tell whether a sentence ends with a mark, or with quotes and brackets after one.

    >>> [stopped(each) for each in ("It rose.", "“它增长了。”", "It rose [3]", "Rates rise")]
    [True, True, False, False]
    """
    return _STOPPED.search(sentence) is not None


def unspaced(character: str) -> bool:
    """Say whether a script without blanks between sentences has this character: Chinese, kana and their marks.

    >>> [unspaced(each) for each in "。它！한😀."]
    [True, True, True, False, False, False]
    """
    return _han(character) or "\u3000" <= character <= "\u303f" or "\uf900" <= character <= "\uffef"


def _ends(text: str, begin: int, mark: re.Match[str], cased: bool) -> bool:
    stop, close, end = mark["stop"], mark["close"], mark.end()
    if end == len(text):
        return True
    before, after = text[mark.start() - 1 : mark.start()], text[end]
    if _HARD.search(stop):
        return after not in _GO_ON and not (close and after in _AFTER_QUOTE)
    if before and _han(before):
        return after not in _GO_ON and not (stop in ".．" and after.isascii() and after.isalnum())
    if stop.strip(".!?…"):  # a semicolon ends nothing in English
        return False
    coming = _NEXT.match(text, end)
    assert coming is not None
    words = text[max(begin, mark.start() - _WORD) : mark.start()].split()
    word = words[-1].lstrip("\"'“‘«([") if words else ""
    if not coming["word"]:  # only white space follows
        return True
    if not after.isspace():
        return _ends_glued(stop, word, coming)
    if coming["word"] in _GO_ON and not coming["open"]:
        return False
    small = cased and coming["word"][:1].islower()
    if stop == ".":
        return not small and _ends_dot(text, begin, mark, word.lower() if len(word) > 1 else word, coming)
    if word.lower() in _NEVER:
        return False
    return not small or (not close and "." not in stop and "…" not in stop)


def _ends_glued(stop: str, word: str, coming: re.Match[str]) -> bool:
    """Return whether a sentence ends where no space follows: "a fine film.The end", not "3.14" or "System.Console"."""
    following = coming["word"]
    if _han(following):
        return "." not in stop and word.lower() not in _NEVER
    if not following[:1].isupper() or not word or word.lower() in _NEVER:
        return False
    if "." not in stop:
        return True
    word = word.rstrip("\"'”’)")
    if len(word) < 2 or not word[-1].isalnum() or "." in word:  # "S.H.I.E.L.D", "0.5.A"
        return False
    begins = following.lower() in _STARTERS or following in ("Mr", "Mrs", "Ms", "Dr")
    return begins or (word.isalpha() and word.islower() and following[1:].islower())


def _ends_dot(text: str, begin: int, mark: re.Match[str], word: str, coming: re.Match[str]) -> bool:
    """Return whether a full stop before a space ends a sentence, rather than an abbreviation."""
    following = coming["word"]
    if word in _NEVER:
        return False
    if word in _NUMBERED or (len(word) == 1 and word.islower()):
        return not (following[0].isdigit() or _ROMAN.fullmatch(following))
    short = (word.isdecimal() or len(word) == 1) and mark.start() - begin <= _WORD
    if short and text[begin : mark.start()].strip() == word:  # "1. Introduction": the number of an item
        return False
    initial = len(word) == 1 and word.isupper()
    if word in _SOMETIMES or initial or _ACRONYM.fullmatch(word):
        is_initial_too = text[coming.end() : coming.end() + 1] == "."  # "A. A. Milne"
        return following.lower() in _STARTERS and following[0].isupper() and not is_initial_too
    return True
