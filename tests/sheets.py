"""Small spreadsheets of every format, for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

import xlsxwriter
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import CoveredTableCell, TableCell, TableRow
from odf.table import Table as OdsTable
from odf.text import P

from filbert.readers.blobs import file_blob
from filbert.readers.columns import Roles
from filbert.readers.formats.spreadsheet import Spreadsheet
from filbert.readers.ledger import Ledger
from filbert.readers.options import ReadOptions

ROWS = [["text", "label"], ["good film", "pos"], ["bad film", "neg"], ["fine, fine", "pos"]]
ROLES = Roles((("text",),), "label")


def xlsx(path: Path, *sheets: list[list[object]], names=("Data", "Other", "Third")) -> Path:
    with xlsxwriter.Workbook(str(path), {"default_date_format": "yyyy-mm-dd hh:mm"}) as book:
        for name, rows in zip(names, sheets, strict=False):
            sheet = book.add_worksheet(name)
            for at, row in enumerate(rows):
                for column, cell in enumerate(row):
                    sheet.write_string(at, column, cell) if isinstance(cell, str) else sheet.write(at, column, cell)
    return path


def opened(path: Path, *, labelled=True, **options) -> Spreadsheet:
    return Spreadsheet(file_blob(path), ReadOptions(**options), labelled=labelled)


def read(path: Path, roles=ROLES, *, labelled=True, **options):
    """The rows as lists of cells with their numbers, and the ledger."""
    table, ledger = opened(path, labelled=labelled, **options), Ledger()
    return [(number, list(row.values())) for number, row in table.rows(roles, ledger)], ledger


def made(path: Path, build) -> Path:
    with xlsxwriter.Workbook(str(path)) as book:
        build(book, book.add_worksheet("Data"))
    return path


def ods(path: Path) -> Path:
    """A sheet as LibreOffice writes it: merged cells, repeated and styled empty ones up to the end."""
    document, table = OpenDocumentSpreadsheet(), OdsTable(name="Data")

    def cell(text="", kind="string", **said):
        made = TableCell(valuetype=kind, **said)
        made.addElement(P(text=text))
        return made

    for cells in (
        [cell("text"), cell("label"), TableCell(numbercolumnsrepeated=16382)],
        [cell("a"), cell("pos", numberrowsspanned=2, numbercolumnsspanned=1)],
        [cell("b"), CoveredTableCell()],
        [cell("30.11.26", "date", datevalue="2026-11-30"), cell("25 %", "percentage", value="0.25")],
    ):
        row = TableRow()
        for each in cells:
            row.addElement(each)
        table.addElement(row)
    last = TableRow(numberrowsrepeated=1048570)
    last.addElement(TableCell(numbercolumnsrepeated=16384))
    table.addElement(last)
    document.spreadsheet.addElement(table)
    document.save(str(path))
    return path


def replaced(source: Path, target: Path, member: str, old: bytes, new: bytes) -> Path:
    """Copy an archive with some bytes of a member replaced."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in archive.namelist():
            data = archive.read(name)
            assert name != member or old in data
            copy.writestr(name, data.replace(old, new) if name == member else data)
    return target


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return path


def record(kind: int, body: bytes = b"") -> bytes:
    first = bytes([kind]) if kind < 128 else bytes([kind & 0x7F | 0x80, kind >> 7])
    return first + bytes([len(body)]) + body


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def wide(text: str) -> bytes:
    return number(len(text)) + text.encode("utf-16-le")


def xlsb(path: Path, rows: dict[int, list[str]]) -> Path:
    """An .xlsb of one sheet ([MS-XLSB]): BrtCellSt holds a text, BrtCellError 42 is #N/A."""
    sheet = record(129) + record(148, number(0) + number(9) + number(0) + number(1)) + record(145)
    for at, cells in rows.items():
        sheet += record(0, number(at) + bytes(13))
        for column, cell in enumerate(cells):
            head = number(column) + bytes(4)
            sheet += record(3, head + bytes([42])) if cell == "#N/A" else record(6, head + wide(cell))
    sheet += record(146) + record(130)
    bundle = record(156, number(0) + number(1) + wide("rId1") + wide("Data"))
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{kind}" Target="worksheets/sheet1.bin"/></Relationships>'
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.bin", record(131) + record(143) + bundle + record(144) + record(132))
        archive.writestr("xl/_rels/workbook.bin.rels", relations)
        archive.writestr("xl/worksheets/sheet1.bin", sheet)
    return path
