"""How a file of texts is to be read: the few things a person may have to say when they cannot be found."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from filbert.errors import ConfigError, shown

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "space": " ", "pipe": "|", "\\t": "\t"}


@dataclass(frozen=True)
class ReadOptions:
    r"""What the reader may be told; everything left out is found, and what was found is said.

    >>> ReadOptions(text="review", delimiter="tab").separator
    '\t'
    """

    text: str | None = None
    """Column of the texts: a name, or a number from 1 when there is no header; several (`title,body`) are joined."""
    label: str | None = None
    """Column of the labels, in the same way; several (`toxic,insult`) hold 0 or 1, a label each."""
    delimiter: str | None = None
    """`comma`, `tab`, `semicolon`, `space` (first word is the label, the rest the text), `pipe`, or the characters."""
    header: bool | None = None
    """Whether the first row holds the column names."""
    encoding: str | None = None
    """None: by the BOM, else strict UTF-8. `auto`: GB18030 is accepted too, with a notice. Or a codec: `latin-1` …"""
    on_bad_rows: str = "error"
    """`error`, or `quarantine`: bad rows go verbatim to the rejects file and the rest is used."""
    merge_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels to be read as another one: `{"Pos": "pos"}`; done by the task, which knows what a label is."""
    split_column: str | None = None
    """Column that says train, dev or test; one named split, fold, subset or partition is found."""
    quotes: bool | None = None
    """Whether `"` quotes a field as in CSV; False: it is a plain character, as in most TSV files."""
    text_pair: str | None = None
    """Column of the second text, where two are read together, in the same way as `text`."""
    skip_lines: int = 0
    """Lines above the first row, or the header, that are not to be read."""
    sheet: str | None = None
    """Sheet of a spreadsheet: its name, or its number from 1; None where only one holds texts."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """What a model was trained on: `{"inputs": [["title", "body"]], "target": ["queue"]}`; see `columns.choose`."""

    def __post_init__(self) -> None:
        if self.on_bad_rows not in ("error", "quarantine"):
            raise ConfigError(f"on_bad_rows is {self.on_bad_rows!r} — choose error or quarantine")
        self._check_delimiter()
        if self.encoding not in (None, "auto"):
            _check_codec(str(self.encoding))
        if self.skip_lines < 0:
            raise ConfigError(f"skip_lines is {self.skip_lines} — give the number of lines above the first row")
        inputs, target = self.columns.get("inputs", []), self.columns.get("target", [])
        sound = isinstance(inputs, (list, tuple)) and len(inputs) <= 2 and all(map(_names, inputs))
        sound = sound and isinstance(target, (list, tuple)) and (_names(target) or all(map(_names, target)))
        if not sound:
            raise ConfigError(f'columns is {shown(self.columns)} — write {{"inputs": [["text"]], "target": ["label"]}}')

    def _check_delimiter(self) -> None:
        told = self.delimiter
        if told is None or told in DELIMITERS:
            return
        if not told or (len(told) > 1 and told.isalpha()):  # a slip: "coma", "semi"
            names = ", ".join(name for name in DELIMITERS if name.isalpha())
            raise ConfigError(f"delimiter is {told!r} — choose {names} or the characters themselves")
        if any(mark in told for mark in '"\n\r'):
            raise ConfigError(f"delimiter is {told!r} — quotes and line ends cannot separate fields")

    @property
    def separator(self) -> str | None:
        """The delimiter as its characters, None where it is to be found."""
        return None if self.delimiter is None else DELIMITERS.get(self.delimiter, self.delimiter)

    @property
    def trained_inputs(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each text a model was trained on; none where that is not known."""
        return tuple(tuple(names) for names in self.columns.get("inputs", []))

    @property
    def trained_target(self) -> tuple[str, ...]:
        """The columns of the target a model was trained on; none where that is not known."""
        told = self.columns.get("target", [])
        return tuple(name for part in told for name in ([part] if isinstance(part, str) else part))


def _names(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)


def _check_codec(name: str) -> None:
    """Raise ConfigError for a name that is no codec of text, or of none that can be read as a stream."""
    try:
        known = codecs.lookup(name)._is_text_encoding
        for errors in ("strict", "replace") if known else ():  # undefined decodes nothing, idna knows no "replace"
            codecs.getincrementaldecoder(name)(errors).decode("text".encode(name))
    except UnicodeError:
        known = False
    except (LookupError, ValueError):  # ValueError: a NUL in the name
        todo = "try utf-8, gb18030, latin-1, cp1252 or utf-16"
        raise ConfigError(f"encoding {shown(name)} is unknown — {todo}") from None
    if not known:
        raise ConfigError(f"encoding {shown(name)} is not a text encoding — try utf-8, gb18030, latin-1 or utf-16")
