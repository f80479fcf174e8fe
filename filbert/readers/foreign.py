"""Files that are no text, whatever their name says, told by their first bytes; the spreadsheets are workbook.py's."""

from __future__ import annotations

import re

from filbert.readers.blobs import Blob
from filbert.readers.ledger import fatal

SIGNS = (
    (rb"%PDF-", "a PDF document"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a|RIFF....WEBP|II\*\0|MM\0\*|....ftyp(?:heic|avif|mif1)", "an image"),
    (rb"RIFF....(?:WAVE|AVI )|OggS|fLaC|....ftyp|\x1aE\xdf\xa3", "a recording"),
    (rb"\{\\rtf", "a document (RTF)"),
    (rb"7z\xbc\xaf|Rar!\x1a\x07|\x04\x22\x4d\x18|\x1f\x9d|\xfd7zXZ|PK\x05\x06", "an archive of a kind not read here"),
    (rb"\x93NUMPY|\x89HDF|CDF[\x01\x02]", "a file of arrays"),
    (rb"SQLite format 3\0", "an SQLite database"),
    (rb"ARROW1\0\0|FEA1|Obj\x01|ORC[\x00-\x09]", "a table in a binary format (Arrow, Avro, ORC)"),
    (rb"\x80[\x02-\x05][\x95\]}(c]", "a pickle, which is never opened because it can run any code"),
    (rb"\x7fELF|MZ.\0.\0|\xca\xfe\xba\xbe|\0asm", "a program"),
)
_SIGNS = tuple((re.compile(sign, re.DOTALL), what) for sign, what in SIGNS)
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html[\s>]|\?xml\s)", re.IGNORECASE)
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xls", ".ods")


def refuse_foreign(blob: Blob, head: bytes) -> None:
    """Raise DataError where a file's first bytes are those of something that is no text, or of a page named a table."""
    what = next((what for sign, what in _SIGNS if sign.match(head)), None)
    if what is None and blob.suffix in TABLES and _PAGE.match(head):
        what = "a web page, or XML"
    if what is not None:
        todo = "save its texts as a table: CSV (UTF-8), JSON lines, Parquet or .xlsx"
        raise fatal(blob.name, "file", f"is {what}, by its first bytes", todo)
