"""Which column holds the texts, which the labels: by name, else by shape, else a question — never a guess.

By shape: labels are few distinct short values, the text is the column of the longest strings. Works on a sample of the
first rows. Header detection stands here too, because a header is recognised by the same names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filbert.errors import DataError, shown
from filbert.readers.ledger import fatal
from filbert.readers.options import ReadOptions

TEXT_NAMES = (  # the first tier wins over the second, and so on; two names of one tier are ambiguous
    ("text", "text_a", "texts", "文本", "正文"),
    ("review", "sentence", "content", "body", "comment", "message", "document", "评论", "内容", "句子", "留言"),
    ("review_text", "review_body", "comment_text", "tweet", "utterance", "description", "note", "question", "query"),
    ("abstract", "summary", "title", "headline", "subject", "input", "标题", "摘要", "问题"),
)
LABEL_NAMES = (
    ("label", "labels", "标签"),
    ("class", "category", "target", "sentiment", "y", "intent", "类别", "分类", "情感", "类别标签"),
    ("topic", "polarity", "emotion", "classification", "output", "rating", "stars", "score", "label_name"),
)
PAIR_NAMES = ("text_b", "sentence2", "question2", "hypothesis")
SPLIT_NAMES = ("split", "fold", "subset", "partition")
SPLITS = {
    **dict.fromkeys(("train", "training", "trn", "tr", "训练", "训练集"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "验证", "验证集", "开发集"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "测试", "测试集"), "test"),
}
TODO = "say which with --text NAME --label NAME"

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class Roles:
    """The columns' parts: text, label and split; `how` says why for the person to read."""

    text: str
    label: str | None = None
    split: str | None = None
    how: str = ""


def split_of(name: str) -> str | None:
    """Return train, validation or test where a name of a file, folder or value says so.

    >>> split_of("20news-bydate-train"), split_of("dev.tsv"), split_of("latest")
    ('train', 'validation', None)
    """
    words = [SPLITS[word] for word in re.split(r"[^a-z\u4e00-\u9fff]+", name.lower()) if word in SPLITS]
    return words[0] if words else None


def plain(name: str) -> str:
    """Return a column name as it is compared: NFKC, trimmed, lower case."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def known_name(name: str) -> bool:
    """Tell whether a cell is a usual name of a text, label or split column."""
    tiers = (*TEXT_NAMES, *LABEL_NAMES, PAIR_NAMES, SPLIT_NAMES)
    return any(plain(name) in tier for tier in tiers)


def has_header(rows: Sequence[Sequence[str]], options: ReadOptions) -> bool:
    """Tell whether the first row holds names: usual ones, those given, or cells unlike all that stand below them.

    >>> has_header([["a fine , warm film", "1"], ["dull", "0"]], ReadOptions())
    False
    """
    if options.header is not None or not rows:
        return bool(options.header)
    first, body = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    told = [name for name in (options.text, options.label, options.split_column) if name and not name.isdigit()]
    if any(name in first for name in told):
        return True
    below = [{row[at] for row in body} for at in range(len(first))]
    if any(known_name(cell) and cell not in below[at] for at, cell in enumerate(first)):
        return True
    return _unlike(first, body)


def _unlike(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Tell a header of unusual names from a first row of data; in doubt it is data, which is said and can be undone."""
    names = [re.fullmatch(r"[^\W\d][\w#.\-]*(?: [\w#.\-]+){0,2}|#\d+ \w+", cell.strip()) for cell in first]
    if len(body) < 2 or not all(names) or len(set(first)) < len(first) or max(map(len, first)) > 30:
        return False
    proof = False
    for at, cell in enumerate(first):
        values = [row[at] for row in body]
        if cell in values:
            return False
        numeric = all(re.fullmatch(r"[+-]?\d+(\.\d+)?", value) for value in values)
        proof = proof or numeric or (len(values) >= 4 and len(set(values)) <= len(values) // 2)
    return proof


def choose(columns: Sequence[str], rows: Rows, options: ReadOptions, *, file: str, labelled: bool) -> Roles:
    """Return the columns' parts, or raise a DataError that lists the columns and says how to choose."""
    text = _told(columns, options.text, "text", file)
    label = _told(columns, options.label, "label", file)
    split = _told(columns, options.split_column, "split", file)
    if labelled:
        split = split or _split_column(columns, rows)
    rest = [c for c in columns if c not in (text, label, split)]
    named_text = text or _by_name(rest, TEXT_NAMES)
    named_label = label or _by_name([c for c in rest if c != named_text], LABEL_NAMES)
    if labelled and named_label is None:
        named_label = _label_by_shape([c for c in rest if c != named_text], rows, named_text)
    if named_text is None:
        named_text = _text_by_shape([c for c in rest if c != named_label], rows)
    if named_text is None or (labelled and named_label is None):
        what = "text" if named_text is None else "label"
        raise _unclear(what, columns, rows, file, labelled)
    how = [f"text: {shown(named_text)}"] + ([f"label: {shown(named_label)}"] if named_label else [])
    how += [f"split: {shown(split)}"] if split else []
    return Roles(named_text, named_label, split, "columns — " + ", ".join(how))


def _unclear(what: str, columns: Sequence[str], rows: Rows, file: str, labelled: bool) -> DataError:
    listed = "; ".join(
        f"{column} (e.g. {shown(rows[0].get(column, ''), 30)})" if rows else column for column in columns
    )
    wrong = f"cannot tell which column is the {what} among {len(columns)}: {listed}"
    todo = TODO if labelled else "say which with --text NAME"
    if labelled and len(columns) == 1:
        todo = (
            "say how fields are separated with --delimiter comma, tab, semicolon, pipe or space (label first); texts "
            "without labels are for `filbert predict`"
        )
    return fatal(file, "columns", wrong, todo)


def _told(columns: Sequence[str], wanted: str | None, part: str, file: str) -> str | None:
    if wanted is None:
        return None
    for column in columns:
        if column == wanted:
            return column
    same = [column for column in columns if plain(column) == plain(wanted)]
    if len(same) == 1:
        return same[0]
    if wanted.isdigit() and 1 <= int(wanted) <= len(columns):
        return columns[int(wanted) - 1]
    listed = ", ".join(shown(column, 40) for column in columns)
    raise fatal(file, part, f"there is no column {shown(wanted)}", f"choose one of {listed}")


def _by_name(columns: Sequence[str], tiers: Sequence[Sequence[str]]) -> str | None:
    if any(plain(column) in PAIR_NAMES for column in columns):
        return None
    for tier in tiers:
        matches = [column for column in columns if plain(column) in tier]
        if matches:
            return matches[0] if len(matches) == 1 else None
    return None


def _split_column(columns: Sequence[str], rows: Rows) -> str | None:
    for column in columns:
        values = {plain(row.get(column, "")) for row in rows}
        if plain(column) in SPLIT_NAMES and values and values <= set(SPLITS):
            return column
    return None


def _values(column: str, rows: Rows) -> list[str]:
    return [row.get(column, "") for row in rows]


def _length(values: Sequence[str]) -> float:
    return sum(map(len, values)) / max(1, len(values))


def _label_by_shape(columns: Sequence[str], rows: Rows, text: str | None) -> str | None:
    """Return the one column of few short values; None where there is none, or several."""
    columns = [c for c in columns if _few(_values(c, rows))]
    varied = [c for c in columns if len(set(_values(c, rows))) > 1] or columns
    if text is None and len(varied) > 1:
        longest = max(varied, key=lambda c: _length(_values(c, rows)))
        shorter = [c for c in varied if _length(_values(c, rows)) * 3 < _length(_values(longest, rows))]
        varied = shorter if len(shorter) == len(varied) - 1 else varied
    return varied[0] if len(varied) == 1 else None


def _few(values: Sequence[str]) -> bool:
    if not values or _length(values) > 60 or all(re.fullmatch(r"-?\d+\.\d+", value) for value in values):
        return False
    distinct = len(set(values))
    return distinct <= len(values) / 2 if len(values) >= 20 else distinct < len(values)


def _text_by_shape(columns: Sequence[str], rows: Rows) -> str | None:
    """Return the column of the longest strings; None where a second one is half as long and as varied."""
    if len(columns) <= 1:
        return columns[0] if columns else None
    lengths = {column: _length(_values(column, rows)) for column in columns}
    first, second = sorted(columns, key=lambda c: -lengths[c])[:2]
    varied = len(set(_values(second, rows))) > len(rows) / 2
    return None if not rows or (lengths[second] >= lengths[first] / 2 and varied) else first
