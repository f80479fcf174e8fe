"""What a spreadsheet is, its content says; what is locked, damaged or too large is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile

import pytest
import xlwt
from odf.opendocument import OpenDocumentText
from sheets import ROLES, ROWS, made, ods, opened, read, replaced, xlsb, xlsx, zipped

from filbert.errors import DataError
from filbert.readers.blobs import Blob, file_blob
from filbert.readers.formats import workbook
from filbert.readers.formats.sheet_scan import scan_xlsx
from filbert.readers.formats.spreadsheet import Spreadsheet
from filbert.readers.formats.workbook import spreadsheet_kind
from filbert.readers.ledger import Ledger
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source

# --- other formats --------------------------------------------------------------------------------------------------


def test_xls(tmp_path):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for at, row in enumerate(ROWS):
        sheet.write(at, 0, row[0])
    sheet.write(0, 1, "label")
    sheet.write_merge(1, 2, 1, 1, "pos")
    sheet.write(3, 1, 5)
    book.save(str(tmp_path / "a.xls"))
    assert spreadsheet_kind(file_blob(tmp_path / "a.xls")) == "xls"
    assert [row[1] for _, row in read(tmp_path / "a.xls")[0]] == ["pos", "pos", "5"]


def test_ods(tmp_path):
    rows, ledger = read(ods(tmp_path / "a.ods"))
    assert rows == [(2, ["a", "pos"]), (3, ["b", "pos"]), (4, ["2026-11-30", "0.25"])]
    assert ledger.notes == {"cells filled in from a merged cell above": 1}


def test_an_error_in_ods(tmp_path):
    calc = b'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
    old = b'<table:table-cell office:value-type="string"><text:p>b</text:p>'
    new = (
        b"<table:table-cell " + calc + b' office:value-type="string" office:string-value="" calcext:value-type="error">'
    )
    path = replaced(ods(tmp_path / "a.ods"), tmp_path / "b.ods", "content.xml", old, new + b"<text:p>#REF!</text:p>")
    rows, ledger = read(path)
    assert [number for number, _ in rows] == [2, 4]
    assert "b.ods:3 text — cell A3 holds the error #REF!" in str(ledger.problems[0])


def test_xlsb(tmp_path):
    path = xlsb(tmp_path / "a.xlsb", {0: ["text", "label"], 1: ["a", "x"], 2: ["#N/A", "x"], 3: ["c", "y"]})
    rows, ledger = read(path)
    assert rows == [(2, ["a", "x"]), (4, ["c", "y"])]
    assert "a.xlsb:3 text — cell A3 holds the error #N/A" in str(ledger.problems[0])


def test_the_content_counts_and_not_the_name(tmp_path):
    for name in ("a.csv", "a.xls", "a.ods", "a"):
        assert len(read(xlsx(tmp_path / name, ROWS))[0]) == 3


# --- refused --------------------------------------------------------------------------------------------------------


def test_other_office_documents(tmp_path):
    archive = zipped(tmp_path / "a.docx", word__document="x")
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("word/document.xml", "<document/>")
    with pytest.raises(DataError, match=r"is a Word document, no spreadsheet — save its table as .xlsx or CSV"):
        spreadsheet_kind(file_blob(archive))
    OpenDocumentText().save(str(tmp_path / "a.odt"))
    with pytest.raises(DataError, match="is an OpenDocument file, no spreadsheet"):
        spreadsheet_kind(file_blob(tmp_path / "a.odt"))
    (tmp_path / "a.doc").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + "WordDocument\0".encode("utf-16-le") * 2)
    with pytest.raises(DataError, match="is an office document of before 2007"):
        spreadsheet_kind(file_blob(tmp_path / "a.doc"))


def test_plain_archives_and_files_are_none(tmp_path):
    assert spreadsheet_kind(file_blob(zipped(tmp_path / "a.zip", train="text,label"))) is None
    (tmp_path / "a.csv").write_text("text,label")
    assert spreadsheet_kind(file_blob(tmp_path / "a.csv")) is None


def test_a_password(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(bytes.fromhex("d0cf11e0a1b11ae1") + "EncryptedPackage\0".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"a.xlsx file — is locked by a password — open it, take the password off"):
        opened(tmp_path / "a.xlsx")
    manifest = b"<manifest:encryption-data/></manifest:manifest>"
    path = replaced(
        ods(tmp_path / "a.ods"), tmp_path / "b.ods", "META-INF/manifest.xml", b"</manifest:manifest>", manifest
    )
    with pytest.raises(DataError, match="is locked by a password"):
        opened(path)


def xls(path):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Data")
    for at, row in enumerate(ROWS):
        for column, cell in enumerate(row):
            sheet.write(at, column, cell)
    book.save(str(path))
    return bytearray(path.read_bytes())


@pytest.mark.parametrize(
    "stated", ["a chain in a circle", "a directory longer than the file", "a stream longer than it"]
)
def test_a_damaged_xls_is_refused_before_its_chains_are_followed(tmp_path, stated):
    data = xls(tmp_path / "a.xls")
    (first_table,) = struct.unpack_from("<I", data, 76)
    (directory,) = struct.unpack_from("<I", data, 48)
    if stated == "a chain in a circle":
        struct.pack_into("<I", data, (first_table + 1) * 512 + 4 * directory, directory)
    elif stated == "a directory longer than the file":
        struct.pack_into("<I", data, 40, 0x00FFFFFF)
    else:
        struct.pack_into("<I", data, (directory + 1) * 512 + 128 + 120, 0x7FFFFFFF)
    (tmp_path / "a.xls").write_bytes(data)
    with pytest.raises(DataError, match=r"a.xls file — is damaged or cut short \('(a chain of|it states|a stream)"):
        opened(tmp_path / "a.xls")


def test_an_error_in_xls_and_a_count_that_cannot_be(tmp_path):
    data = bytes(xls(tmp_path / "a.xls"))
    at = data.index(struct.pack("<HHHH", 0xFD, 10, 2, 0))  # LabelSst in A3, made a BoolErr of the same size
    error = struct.pack("<HHHH", 0x205, 10, 2, 0) + data[at + 8 : at + 10] + bytes([42, 1, 0, 0])
    (tmp_path / "a.xls").write_bytes(data[:at] + error + data[at + 14 :])
    rows, ledger = read(tmp_path / "a.xls")
    assert [number for number, _ in rows] == [2, 4]
    assert "a.xls:3 text — cell A3 holds the error #N/A" in str(ledger.problems[0])
    at = data.index(struct.pack("<H", 0xFC), 512)
    (tmp_path / "a.xls").write_bytes(data[: at + 8] + b"\xff\xff\xff\xff" + data[at + 12 :])
    with pytest.raises(DataError, match="it states more texts than it can hold"):
        opened(tmp_path / "a.xls")


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_file_cut_short(tmp_path, kept):
    data = xlsx(tmp_path / "a.xlsx", ROWS).read_bytes()
    (tmp_path / "b.xlsx").write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DataError, match=r"b.xlsx file — is damaged or cut short.* — fetch it again"):
        opened(tmp_path / "b.xlsx")


def test_an_unknown_encoding_of_the_xml(tmp_path):
    path = replaced(xlsx(tmp_path / "a.xlsx", ROWS), tmp_path / "b.xlsx", "xl/workbook.xml", b"UTF-8", b"UTF-9")
    with pytest.raises(DataError, match="is damaged or cut short"):
        opened(path)


def test_flipped_bytes_never_raise_anything_but_a_data_error(tmp_path):
    for build in (lambda p: xlsx(p, ROWS), ods):
        data = bytearray(build(tmp_path / "a").read_bytes())
        for at in range(0, len(data), 97):
            (tmp_path / "b.xlsx").write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
            with contextlib.suppress(DataError):
                read(tmp_path / "b.xlsx")


def test_a_cell_in_the_last_corner_is_refused_before_memory_is_asked_for(tmp_path):
    def build(_, sheet):
        sheet.write_string(0, 0, "text")
        sheet.write_string(1_048_575, 16_383, "z")

    path = made(tmp_path / "a.xlsx", build)
    wrong = "sheet 'Data' reaches to cell XFD1048576: 17,179,869,184 cells — delete what stands far outside the table"
    with pytest.raises(DataError, match=wrong):
        opened(path)
    far = xlsb(tmp_path / "a.xlsb", {0: ["text", "label"], 1_048_575: ["a"] * 100})
    with pytest.raises(DataError, match="reaches to cell CV1048576"):
        opened(far)
    content = b'table:number-rows-repeated="1048570"><table:table-cell table:number-columns-repeated="16384"'
    full = replaced(
        ods(tmp_path / "a.ods"), tmp_path / "b.ods", "content.xml", content, content + b' office:value-type="string"'
    )
    with pytest.raises(DataError, match="reaches to cell XFD"):
        opened(full)


def test_xml_that_unpacks_too_far_is_refused_whatever_its_header_says(tmp_path, monkeypatch):
    monkeypatch.setattr(workbook, "LARGEST", 3 << 20)
    path = xlsx(tmp_path / "a.xlsx", ROWS)
    bomb = replaced(path, tmp_path / "b.xlsx", "xl/styles.xml", b"</styleSheet>", b"</styleSheet>" + b" " * (5 << 20))
    with pytest.raises(DataError, match=r"unpacks to more than .* — save the sheet as CSV"):
        opened(bomb)
    with zipfile.ZipFile(bomb) as archive:
        claimed = archive.getinfo("xl/styles.xml").file_size.to_bytes(4, "little")
    (tmp_path / "c.xlsx").write_bytes(bomb.read_bytes().replace(claimed, (100).to_bytes(4, "little")))
    with pytest.raises(DataError, match="unpacks to more than"):
        opened(tmp_path / "c.xlsx")


def test_declared_entities_are_refused(tmp_path):
    path = xlsx(tmp_path / "a.xlsx", ROWS)
    entity = b'<!DOCTYPE a [<!ENTITY b "bb">]><workbook '
    with pytest.raises(DataError, match="declares a document type"):
        opened(replaced(path, tmp_path / "b.xlsx", "xl/workbook.xml", b"<workbook ", entity))


def test_a_spreadsheet_within_an_archive_reads(tmp_path):
    data = xlsx(tmp_path / "a.xlsx", ROWS).read_bytes()
    blob = Blob("b.zip!a.xlsx", lambda: io.BytesIO(data))
    assert len(list(Spreadsheet(blob, ReadOptions()).rows(ROLES, Ledger()))) == 3


def test_formatted_empty_cells_far_outside_do_no_harm(tmp_path):
    def build(book, sheet):
        sheet.write_column(0, 0, ["text", "a"])
        sheet.write_column(0, 1, ["label", "x"])
        sheet.write_blank(1_048_575, 16_383, None, book.add_format({"bold": True}))

    assert read(made(tmp_path / "a.xlsx", build))[0] == [(2, ["a", "x"])]


@pytest.mark.parametrize("form", ["<x:c r='{}' t='s'>", '<c\n t="s" r = "{}">', '<c><v>1</v></c><c r="{}">'])
def test_cells_are_found_however_they_are_written(form):
    rows = '<row r="7"><c r="B7"><v>1</v></c></row><row r="9">' + form.format("AB9") + "</row>"
    scan = scan_xlsx([rows[:30].encode(), rows[30:].encode()])
    assert (scan.height, scan.width) == (9, 28)


def test_cells_without_an_address_are_counted():
    scan = scan_xlsx([b"<row>" + b"<c><v>1</v></c>" * 40 + b"</row><row><c><v>1</v></c></row>"])
    assert (scan.height, scan.width) == (2, 40)


def test_open_source_reads_a_file_and_a_folder_of_them(tmp_path):
    source = open_source(xlsx(tmp_path / "a.xlsx", ROWS))
    assert next((row.text, row.place.line) for row in source.examples()) == ("good film", 2)
    assert source.found[0] == "format: xlsx spreadsheet, header in row 1, 2 columns"
    (tmp_path / "set").mkdir()
    xlsx(tmp_path / "set" / "train.xlsx", ROWS)
    ods(tmp_path / "set" / "test.ods")
    source = open_source(tmp_path / "set")
    assert source.splits == ("train", "test")
    assert [row.text for row in source.examples("test")] == ["a", "b", "2026-11-30"]


def test_open_source_counts_errors_in_cells_as_bad_rows(tmp_path):
    def build(_, sheet):
        sheet.write_column(0, 0, ["text", "a", "b"])
        sheet.write_column(0, 1, ["label", "x", "y"])
        sheet.write_formula(3, 0, "=1/0", None, "#DIV/0!")
        sheet.write(3, 1, "x")

    source = open_source(made(tmp_path / "a.xlsx", build))
    with pytest.raises(DataError, match=r"a.xlsx:4 text — cell A4 holds the error #DIV/0!"):
        list(source.examples())
    assert source.counts == {"read": 3, "accepted": 2, "quarantined": 1}
