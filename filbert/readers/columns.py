"""Which columns hold the texts, which the target: as told, as the model was trained, by name, by shape — or a question.

By shape: labels are few distinct short values, the text is the column of the longest strings, several columns of 0 and
1 are a label each. Works on a sample of the first rows; what a target means is no concern here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from filbert.errors import DataError, Refusal, shown
from filbert.readers.ledger import fatal
from filbert.readers.names import (
    ANSWER_NAMES,
    ASKED_OF,
    PAIRS,
    SECOND_NAMES,
    SPLIT_NAMES,
    SPLITS,
    START_NAMES,
    SUMMARY_NAMES,
    TARGET_NAMES,
    TEXT_NAMES,
    nameless,
    plain,
    squeezed,
)
from filbert.readers.options import ReadOptions
from filbert.readers.shapes import (
    Rows,
    bit,
    bits,
    indicators_by_shape,
    label_by_shape,
    pair_by_shape,
    text_by_shape,
    values,
)

ADVICE = "say which with --text NAME --label NAME"
NAMED = 10  # columns listed in a line


@dataclass(frozen=True)
class Roles:
    """The columns' parts.

    `inputs` has one entry, a text, or two, a pair; several columns of an entry are joined by a line break. The target
    stands in one column, or in `indicators`, columns of 0 and 1 with a label each. `how` is what is said of the choice.
    """

    inputs: tuple[tuple[str, ...], ...]
    target: str | None = None
    indicators: tuple[str, ...] = ()
    split: str | None = None
    how: str = ""
    start: str | None = None
    """Column of where in the second text the target begins, in code points, where the target is a piece of it."""

    @property
    def columns(self) -> frozenset[str]:
        """The columns that inputs and target are read from."""
        target = () if self.target is None else (self.target,)
        return frozenset(name for names in (*self.inputs, target, self.indicators) for name in names)


def joined(row: Mapping[str, str], columns: Sequence[str]) -> str:
    r"""Return the text of several columns, empty ones left out.

    >>> joined({"title": "Late", "note": "", "body": "Where is it?"}, ["title", "note", "body"])
    'Late\nWhere is it?'
    """
    return "\n".join(cell for column in columns if (cell := row.get(column)))


def indicated(row: Mapping[str, str], indicators: Sequence[str]) -> str:
    """Return the names of the columns that hold 1 as a JSON array, nothing where all are empty; raises Refusal.

    >>> indicated({"bug": "1", "ask": "0", "idea": ""}, ["bug", "ask", "idea"])
    '["bug"]'
    """
    said: list[str] = []
    filled = False
    for column in indicators:
        cell = row.get(column, "")
        if not cell.strip():
            continue
        filled = True
        value = bit(cell)
        if value is None:
            raise Refusal(f"{shown(column, 30)} is {shown(cell, 40)}, neither 0 nor 1", "write 0 or 1")
        if value:
            said.append(column)
    return json.dumps(said, ensure_ascii=False) if filled else ""


def choose(
    columns: Sequence[str], rows: Rows, options: ReadOptions, *, file: str, labelled: bool, hint: str = ""
) -> Roles:
    """Return the columns' parts, or raise a DataError that lists the columns and says how to choose.

    What the options say wins; then what the model was trained on, where the file has it; then usual names and shapes.
    """
    split = _told(columns, options.split_column, "split", file)
    split = split or (_split_column(columns, rows) if labelled else None)
    inputs, target = _asked(columns, options, file)
    known = bool(inputs or target)
    inputs = inputs or _trained(columns, options.trained_inputs)
    target = target or (_trained(columns, [options.trained_target]) or ((),))[0]
    trained = bool(options.columns) and not known and bool(inputs)
    second = options.text_pair is not None and len(inputs) == 1  # only the second text is told
    rest = [c for c in columns if c != split and c not in target and not any(c in names for names in inputs)]
    lone = second or len(options.trained_inputs) == 1
    first: tuple[tuple[str, ...], ...] = () if second else inputs
    first = first or _inputs_by_name(rest, rows, lone=lone)
    rest = [c for c in rest if not any(c in names for names in first)]
    target = target or _answers(rest, first) or _target(rest, rows, first, labelled=labelled)
    first = first or _inputs_by_shape(columns, [c for c in rest if c not in target], rows, target, lone=lone)
    if not first or (labelled and not target):
        raise _unclear("label" if first else "text", columns, rows, file, labelled=labelled, hint=hint)
    inputs = (*first, *inputs) if second else first
    _refuse_shared(inputs, target, file)
    if len(inputs) < len(options.trained_inputs) and options.text is None:
        wrong = f"the model reads two texts, of {_listed(options.trained_inputs)}; here is {_listed(inputs)}"
        raise fatal(file, "columns", wrong, "say which with --text NAME --text-pair NAME")
    said = _said(inputs, target, split) + (" (as the model was trained)" if trained else "")
    how = "\n".join([said, *_lacking(columns, options, inputs, target if labelled else ())])
    start = _by_name(columns, (START_NAMES,)) if target == _answers(target, inputs) else None
    lone_target = target[0] if len(target) == 1 else None
    return Roles(inputs, lone_target, target if len(target) > 1 else (), split, how, start)


def _refuse_shared(inputs: Sequence[Sequence[str]], target: Sequence[str], file: str) -> None:
    """Raise where one column is read as two things: both texts of a pair, or a text and its label."""
    seen = Counter(name for names in (*inputs, target) for name in names)
    if twice := [name for name, count in seen.items() if count > 1]:
        both = "text and label" if twice[0] in target else "both texts"
        raise fatal(file, "columns", f"{shown(twice[0])} is named for {both}", "choose another column for one")


def _asked(
    columns: Sequence[str], options: ReadOptions, file: str
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """Return the inputs and the target that the options name."""
    inputs = tuple(
        names
        for told, part in ((options.text, "text"), (options.text_pair, "second text"))
        if (names := _several(columns, told, part, file))
    )
    return inputs, _several(columns, options.label, "label", file)


def _several(columns: Sequence[str], told: str | None, part: str, file: str) -> tuple[str, ...]:
    """Return the columns of `title,body`; a name that exists as it stands wins."""
    if told is None:
        return ()
    whole = _found(columns, told)
    names = [told] if whole or "," not in told else [name.strip() for name in told.split(",") if name.strip()]
    return tuple(dict.fromkeys(found for name in names if (found := _told(columns, name, part, file))))


def _found(columns: Sequence[str], name: str) -> str | None:
    """Return the column of that name, or the only one but for case and outer blanks."""
    if name in columns:
        return name
    same = [column for column in columns if plain(column) == plain(name)]
    return same[0] if len(same) == 1 else None


def _told(columns: Sequence[str], wanted: str | None, part: str, file: str) -> str | None:
    if wanted is None:
        return None
    if found := _found(columns, wanted):
        return found
    if re.fullmatch(r"[0-9]{1,6}", wanted) and 1 <= int(wanted) <= len(columns):
        return columns[int(wanted) - 1]
    listed = ", ".join(shown(column, 40) for column in columns)
    raise fatal(file, part, f"there is no column {shown(wanted)}", f"choose one of {listed}")


def _trained(columns: Sequence[str], parts: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Return the columns that a model was trained on where the file has all of them; by number only without names."""
    if any(re.fullmatch(r"column \d+", name) for names in parts for name in names) and not nameless(list(columns)):
        return ()
    found = [[_found(columns, name) for name in names] for names in parts]
    whole = tuple(tuple(name for name in names if name is not None) for names in found)
    return whole if all(whole) and [len(names) for names in whole] == [len(names) for names in parts] else ()


def _lacking(
    columns: Sequence[str], options: ReadOptions, inputs: Sequence[Sequence[str]], target: Sequence[str]
) -> list[str]:
    """Return what is to be said where the file lacks what the model was trained on."""
    lines = []
    if options.text is None and options.trained_inputs and not _trained(columns, options.trained_inputs):
        names = [name for part in options.trained_inputs for name in part]
        lines.append(_lacks("--text", "was trained on", names, [name for part in inputs for name in part]))
    told = options.trained_target
    if target and options.label is None and told and not _trained(columns, [told]):
        lines.append(_lacks("--label", "had its labels in", list(told), target))
    return lines


def _lacks(option: str, what: str, names: Sequence[str], used: Sequence[str]) -> str:
    many = "columns" if len(names) > 1 else "column"
    lacking = f"the model {what} {many} {_listed([names])}, which this file lacks"
    return f"warning: {lacking}: {_listed([used])} is read; {option} takes another"


def _listed(parts: Sequence[Sequence[str]]) -> str:
    return ", ".join(" + ".join(shown(name, 40) for name in names[:NAMED]) for names in parts)


def _inputs_by_name(columns: Sequence[str], rows: Rows, *, lone: bool) -> tuple[tuple[str, ...], ...]:
    """Return a pair of usual names, else the text of a usual name; nothing where neither is plain."""
    by_key = {squeezed(column): column for column in columns}
    pairs = [(by_key[a], by_key[b]) for a, b in PAIRS if a in by_key and b in by_key]
    if pairs and not lone:
        return tuple((name,) for name in pairs[0]) if len(pairs) == 1 else ()
    if any(key in SECOND_NAMES for key in by_key):
        return ()
    indicators = bits(columns, rows)
    name = _by_name([c for c in columns if c not in indicators] or columns, TEXT_NAMES)
    return ((name,),) if name else ()


def _inputs_by_shape(
    columns: Sequence[str], rest: Sequence[str], rows: Rows, target: Sequence[str], *, lone: bool
) -> tuple[tuple[str, ...], ...]:
    name = None if _is_pair(rest) and not lone else text_by_shape(rest, rows)
    if name:
        return ((name,),)
    pair = pair_by_shape(columns, rows, target[0]) if len(target) == 1 and not lone else None
    return tuple((name,) for name in pair) if pair else ()


def _is_pair(columns: Sequence[str]) -> bool:
    """Tell whether several pairs of usual names stand here, so that none was taken."""
    keys = set(map(squeezed, columns))
    return any(a in keys and b in keys for a, b in PAIRS)


def _target(
    columns: Sequence[str], rows: Rows, inputs: tuple[tuple[str, ...], ...], *, labelled: bool
) -> tuple[str, ...]:
    """Return the target's column by its name, the indicators, or the column of a label's shape."""
    name = _by_name(columns, TARGET_NAMES)
    if name is not None or not labelled:
        return (name,) if name else ()
    texts = [] if inputs else [text for text in [text_by_shape(columns, rows)] if text]
    if several := indicators_by_shape([c for c in columns if c not in texts], rows):
        return several
    shaped = label_by_shape(columns, rows, [name for names in inputs for name in names])
    shaped = shaped or _by_name([c for c in columns if c not in texts], SUMMARY_NAMES)
    return (shaped,) if shaped else ()


def _answers(columns: Sequence[str], inputs: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the column of answers, where a question stands beside the text that it is asked of."""
    if len(inputs) != 2 or len(inputs[1]) != 1 or plain(inputs[1][0]) not in ASKED_OF:
        return ()
    name = _by_name(columns, [(name,) for name in ANSWER_NAMES])
    return (name,) if name else ()


def _by_name(columns: Sequence[str], tiers: Sequence[Sequence[str]]) -> str | None:
    for tier in tiers:
        matches = [column for column in columns if plain(column) in tier]
        if matches:
            return matches[0] if len(matches) == 1 else None
    return None


def _split_column(columns: Sequence[str], rows: Rows) -> str | None:
    for column in columns:
        met = {plain(cell) for cell in values(column, rows)}
        if plain(column) in SPLIT_NAMES and met and met <= set(SPLITS):
            return column
    return None


def _said(inputs: Sequence[Sequence[str]], target: Sequence[str], split: str | None) -> str:
    parts = [
        f"{name}: {' + '.join(map(_short, names))}"
        for name, names in zip(("text", "second text"), inputs, strict=False)
    ]
    if len(target) == 1:
        parts.append(f"label: {_short(target[0])}")
    elif target:
        names = ", ".join(name if name.isprintable() else shown(name) for name in target[:NAMED])
        parts.append(f"labels: {len(target)} columns of 0 and 1: {names}{', …' * (len(target) > NAMED)}")
    return "columns — " + ", ".join(parts + ([f"split: {_short(split)}"] if split else []))


def _short(column: str) -> str:
    """Return a column as a person knows it: by its name, or its number where there are no names."""
    number = re.fullmatch(r"column (\d+)", column)
    return number[1] if number else shown(column)


def _unclear(what: str, columns: Sequence[str], rows: Rows, file: str, *, labelled: bool, hint: str) -> DataError:
    listed = "; ".join(
        f"{column} (e.g. {shown(rows[0].get(column, ''), 30)})" if rows else column for column in columns
    )
    wrong = f"cannot tell which column is the {what} among {len(columns)}: {listed}"
    todo = f"{ADVICE} (two texts: --text-pair NAME too)" if labelled else "say which with --text NAME"
    if labelled and len(columns) == 1:
        todo = (
            "say how fields are separated with --delimiter comma, tab, semicolon, pipe or space (label first); texts "
            "without labels are for `filbert predict`"
        )
    return fatal(file, "columns", wrong, todo + hint)
