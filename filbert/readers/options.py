"""How a file of texts is to be read: the few things a person may have to say when they cannot be found."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, field

from filbert.errors import ConfigError

DELIMITERS = {"comma": ",", "tab": "\t", "semicolon": ";", "space": " ", "pipe": "|"}


@dataclass(frozen=True)
class ReadOptions:
    r"""What the reader may be told; everything left out is found, and what was found is said.

    >>> ReadOptions(text="review", delimiter="tab").separator
    '\t'
    """

    text: str | None = None
    """Column of the texts: a name, or a number from 1 when there is no header."""
    label: str | None = None
    """Column of the labels, in the same way."""
    delimiter: str | None = None
    """`comma`, `tab`, `semicolon`, `space` (first word is the label, the rest the text), `pipe`, or one character."""
    header: bool | None = None
    """Whether the first row holds the column names."""
    encoding: str | None = None
    """None: by the BOM, else strict UTF-8. `auto`: GB18030 is accepted too, with a notice. Or a codec: `latin-1` …"""
    on_bad_rows: str = "error"
    """`error`, or `quarantine`: bad rows go verbatim to the rejects file and the rest is used."""
    merge_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels to be read as another one: `{"Pos": "pos"}`."""
    split_column: str | None = None
    """Column that says train, dev or test; one named split, fold, subset or partition is found."""
    quotes: bool | None = None
    """Whether `"` quotes a field as in CSV; False: it is a plain character, as in most TSV files."""

    def __post_init__(self) -> None:
        if self.on_bad_rows not in ("error", "quarantine"):
            raise ConfigError(f"on_bad_rows is {self.on_bad_rows!r} — choose error or quarantine")
        if self.delimiter is not None and (self.delimiter not in DELIMITERS and len(self.delimiter) != 1):
            raise ConfigError(f"delimiter is {self.delimiter!r} — choose {', '.join(DELIMITERS)} or one character")
        if self.delimiter in ('"', "\n", "\r"):
            raise ConfigError(f"delimiter is {self.delimiter!r} — quotes and line ends cannot separate fields")
        if self.encoding not in (None, "auto"):
            _check_codec(str(self.encoding))

    @property
    def separator(self) -> str | None:
        """The delimiter as one character, None where it is to be found."""
        return None if self.delimiter is None else DELIMITERS.get(self.delimiter, self.delimiter)


def _check_codec(name: str) -> None:
    try:
        known = codecs.lookup(name)
    except LookupError:
        raise ConfigError(f"encoding {name!r} is unknown — try utf-8, gb18030, latin-1, cp1252 or utf-16") from None
    if not known._is_text_encoding:
        raise ConfigError(f"encoding {name!r} is not a text encoding — try utf-8, gb18030, latin-1 or utf-16")
