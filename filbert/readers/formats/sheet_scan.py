"""What calamine does not say of a sheet, read from the file itself: how far it reaches, which cells hold an error.

calamine allocates the whole rectangle up to the last filled cell, 32 bytes a cell, and ends the process where memory is
short: one stray value in XFD1048576 asks for 550 GB. So the reach is known before calamine is called. It gives error
cells (#N/A) as empty ones, and merged cells of .xlsx and .xls only; .ods has both here. Rows and columns count from 0.
"""

from __future__ import annotations

import re
import string
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from xml.parsers import expat

LONGEST_ROW = 64 << 20  # bytes of XML

_CELL = re.compile(rb'<c r="([A-Za-z]{1,3}[0-9]{1,7})"')
_DIGITS, _LETTERS = string.digits.encode(), string.ascii_letters.encode()
_TAG = re.compile(rb"<(?:\w+:)?(row|c)(?=[\s/>])([^>]*)>")
_ADDRESS = re.compile(rb"\br\s*=\s*[\"']([A-Za-z]{0,3})([0-9]{1,7})[\"']")
_ERROR = re.compile(rb"<(?:\w+:)?c(\s[^>]*\bt\s*=\s*[\"']e[\"'][^>/]*)>(.*?)</(?:\w+:)?c>", re.DOTALL)
_VALUE = re.compile(rb"<(?:\w+:)?v[^>]*>([^<]*)<")

_ODS = "urn:oasis:names:tc:opendocument:xmlns:"
_TABLE, _OFFICE = f"{_ODS}table:1.0 ", f"{_ODS}office:1.0 "
_CALC_TYPE = "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0 value-type"

_XLS_CELLS = frozenset((0x06, 0xBD, 0xD6, 0xFD, 0x203, 0x204, 0x205, 0x27E))  # Formula, MulRk, RString, LabelSst, …
_CODES = {0: "#NULL!", 7: "#DIV/0!", 15: "#VALUE!", 23: "#REF!", 29: "#NAME?", 36: "#NUM!", 42: "#N/A"}


@dataclass
class Scan:
    """One sheet: the size of the rectangle from A1 to the last filled cell, its error cells, its merged cells."""

    height: int = 0
    width: int = 0
    errors: dict[tuple[int, int], str] = field(default_factory=dict)
    """(row, column) → the error as it is shown."""
    merged: list[tuple[int, int, int]] = field(default_factory=list)
    """(first row, last row, column) of the merged cells over several rows."""

    def reach(self, row: int, column: int) -> None:
        """Take a filled cell into account."""
        self.height, self.width = max(self.height, row + 1), max(self.width, column + 1)


def column_letters(column: int) -> str:
    """Return a column as a spreadsheet names it.

    >>> column_letters(0), column_letters(27), column_letters(16383)
    ('A', 'AB', 'XFD')
    """
    letters, rest = "", column + 1
    while rest:
        rest, last = divmod(rest - 1, 26)
        letters = chr(ord("A") + last) + letters
    return letters


def column_number(letters: bytes) -> int:
    """Return the column, from 0, of its letters.

    >>> column_number(b"A"), column_number(b"XFD")
    (0, 16383)
    """
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number - 1


def scan_xlsx(blocks: Iterable[bytes], *, exact: bool = False) -> Scan:
    """Scan the XML of one sheet of an .xlsx; ValueError where a row has no end.

    By regular expressions, as a parser's calls for every cell would take longer than calamine does. What only looks
    like a cell makes the sheet larger, never smaller; so do cells that are formatted and empty, unless it is `exact`.
    """
    scan, rest, at = Scan(), b"", [-1, -1]
    for block in blocks:
        rest += block
        cut = max(rest.rfind(b"</row>") + 6, rest.rfind(b":row>") + 5)
        if cut >= 6:
            _scan_rows(rest[:cut], scan, at, exact=exact)
            rest = rest[cut:]
        if len(rest) > LONGEST_ROW and b"<c" in rest:
            raise ValueError("a row does not end")
        rest = rest[-LONGEST_ROW:]
    _scan_rows(rest, scan, at, exact=exact)
    return scan


def _scan_rows(xml: bytes, scan: Scan, at: list[int], *, exact: bool) -> None:
    """Scan whole rows; `at` is the place of the cell before, for cells that do not say theirs."""
    cells = [] if exact or b":c" in xml else _CELL.findall(xml)
    if cells and len(cells) == xml.count(b"<c"):  # as nearly all programs write them
        places = b" ".join(cells)
        rows, columns = places.translate(None, _LETTERS).split(), places.translate(None, _DIGITS).split()
        scan.reach(max(map(int, set(rows))) - 1, max(map(column_number, set(columns))))
        at[:] = [int(rows[-1]) - 1, column_number(columns[-1])]
    else:
        _scan_tags(xml, scan, at)
    if b'"e"' in xml or b"'e'" in xml:
        for attributes, inner in _ERROR.findall(xml):
            place, value = _ADDRESS.search(attributes), _VALUE.search(inner)
            if place and value:
                code = value[1].decode("utf-8", "replace")
                scan.errors[int(place[2]) - 1, column_number(place[1])] = code


def _scan_tags(xml: bytes, scan: Scan, at: list[int]) -> None:
    """Scan rows some of whose cells have no address and follow the one before."""
    for name, attributes in _TAG.findall(xml):
        place = _ADDRESS.search(attributes)
        if name == b"row":
            at[:] = [int(place[2]) - 1 if place else at[0] + 1, -1]
            continue
        at[:] = [int(place[2]) - 1, column_number(place[1])] if place else [at[0], at[1] + 1]
        if not attributes.endswith(b"/"):
            scan.reach(*at)


def scan_xlsb(data: bytes) -> Scan:
    """Scan the records of one sheet of an .xlsb ([MS-XLSB] 2.1.4); IndexError where they are cut short."""
    scan, at, row = Scan(), 0, 0
    while at < len(data):
        kind, at = _varint(data, at, 2)
        size, at = _varint(data, at, 4)
        head = data[at : at + 9]
        if kind == 0:  # BrtRowHdr
            row = int.from_bytes(head[:4], "little")
        elif 2 <= kind <= 11:  # BrtCellRk … BrtFmlaError
            column = int.from_bytes(head[:4], "little")
            scan.reach(row, column)
            if kind in (3, 11):
                scan.errors[row, column] = _CODES.get(head[8], "#ERROR")
        at += size
    return scan


def scan_xls(data: bytes) -> dict[str, Scan]:
    """Scan the workbook stream of an .xls ([MS-XLS] 2.4): every sheet by its name; ValueError where it is damaged."""
    sheets: dict[int, str] = {}  # where a sheet begins → its name
    scans: dict[str, Scan] = {}
    scan, at = Scan(), 0
    while at + 4 <= len(data):
        kind, size = struct.unpack_from("<HH", data, at)
        body = data[at + 4 : at + 4 + size]
        if kind == 0x809:  # BOF
            scan = scans.setdefault(sheets.get(at, ""), Scan())
        elif kind == 0x85 and size > 8:  # BoundSheet8: offset, state, kind, length, whether in UTF-16, name
            name = body[8:].decode("utf-16-le" if body[7] & 1 else "latin-1", "replace")
            sheets[int.from_bytes(body[:4], "little")] = name
        elif kind == 0xFC and int.from_bytes(body[4:8], "little") > len(data) // 3:  # SST
            raise ValueError("it states more texts than it can hold")
        elif kind == 0x200 and size >= 10:  # Dimensions: first row, one beyond the last, the same of columns
            top, bottom, left, right = struct.unpack_from("<IIHH" if size >= 14 else "<4H", body)
            if not (top <= bottom <= 65_536 and left <= right <= 256):
                raise ValueError("it states a sheet that cannot be")
        elif kind in _XLS_CELLS and size >= 6:
            row, column = struct.unpack_from("<HH", body)
            scan.reach(row, column if kind != 0xBD else int.from_bytes(body[-2:], "little"))  # MulRk: several
            if kind == 0x205 and size >= 8 and body[7]:
                scan.errors[row, column] = _CODES.get(body[6], "#ERROR")
            elif kind == 0x06 and size >= 14 and body[6] == 2 and body[12:14] == b"\xff\xff":
                scan.errors[row, column] = _CODES.get(body[8], "#ERROR")
        at += 4 + size
    return scans


def sheets_xlsb(data: bytes) -> dict[str, str]:
    """Return name → relation id of the sheets in workbook.bin."""
    found, at = {}, 0
    while at < len(data):
        kind, at = _varint(data, at, 2)
        size, at = _varint(data, at, 4)
        if kind == 156:  # BrtBundleSh: state, number, relation id, name
            relation, end = _wide(data, at + 8)
            found[_wide(data, end)[0]] = relation
        at += size
    return found


def _varint(data: bytes, at: int, most: int) -> tuple[int, int]:
    value = 0
    for shift in range(most):
        byte = data[at + shift]
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            break
    return value, at + shift + 1


def _wide(data: bytes, at: int) -> tuple[str, int]:
    end = at + 4 + 2 * int.from_bytes(data[at : at + 4], "little")
    return data[at + 4 : end].decode("utf-16-le"), end


def scan_ods(blocks: Iterable[bytes]) -> dict[str, Scan]:
    """Scan content.xml: every sheet by its name; ExpatError where it is no XML, ValueError for a DOCTYPE."""
    reader = _OdsReader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = reader.text, reader.doctype
    for block in blocks:
        parser.Parse(block)
    parser.Parse(b"", True)
    return reader.scans


class _OdsReader:
    def __init__(self) -> None:
        self.scans: dict[str, Scan] = {}
        self._scan = Scan()
        self._row = self._column = self._rows = self._columns = 0
        self._error: list[str] | None = None

    def doctype(self, *_: object) -> None:
        raise ValueError("declares a document type")

    def start(self, name: str, said: dict[str, str]) -> None:
        if name == _TABLE + "table":
            self._scan = self.scans[said.get(_TABLE + "name", "")] = Scan()
            self._row = 0
        elif name == _TABLE + "table-row":
            self._column, self._rows = 0, int(said.get(_TABLE + "number-rows-repeated", 1))
        elif name in (_TABLE + "table-cell", _TABLE + "covered-table-cell"):
            self._columns = int(said.get(_TABLE + "number-columns-repeated", 1))
            if _OFFICE + "value-type" in said:
                self._scan.reach(self._row + self._rows - 1, self._column + self._columns - 1)
            self._error = [] if said.get(_CALC_TYPE) == "error" else None
            spanned = int(said.get(_TABLE + "number-rows-spanned", 1))
            if spanned > 1:
                self._scan.merged.append((self._row, self._row + spanned - 1, self._column))

    def text(self, data: str) -> None:
        if self._error is not None:
            self._error.append(data)

    def end(self, name: str) -> None:
        if name == _TABLE + "table-row":
            self._row += self._rows
        elif name in (_TABLE + "table-cell", _TABLE + "covered-table-cell"):
            if self._error is not None:
                self._scan.errors[self._row, self._column] = "".join(self._error).strip() or "#ERROR"
            self._error = None
            self._column += self._columns
