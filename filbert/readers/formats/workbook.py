"""A spreadsheet file as a whole: what kind it is by what it holds, whether it is safe to open, its sheets by name.

Reading is calamine's part (python-calamine, Rust); this file keeps from it what it would not survive: XML that unpacks
to more than a gigabyte, a sheet with a stray cell in its last corner. calamine holds a sheet in memory, so a
spreadsheet is read whole, unlike all other formats here.
"""

from __future__ import annotations

import copy
import io
import posixpath
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from xml.parsers import expat

from filbert.errors import DataError, shown
from filbert.readers.blobs import Blob, guarded, read_whole
from filbert.readers.formats.compound import workbook_stream
from filbert.readers.formats.sheet_scan import (
    Scan,
    column_letters,
    scan_ods,
    scan_xls,
    scan_xlsb,
    scan_xlsx,
    sheets_xlsb,
)
from filbert.readers.ledger import fatal

if TYPE_CHECKING:
    from python_calamine import CalamineSheet

SUFFIXES = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
LARGEST = 1 << 30  # bytes of the XML of a sheet, or of the texts it shares with others
BOMB = 1_000, 100 << 20  # packed so many times smaller, and larger than this: no sheet of texts is
CELLS = 50_000_000  # of the rectangle up to the last cell, 32 bytes each in calamine
AS_CSV = "save the sheet as CSV (UTF-8)"

_BLOCK = 1 << 20
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_ODS = b"application/vnd.oasis.opendocument.spreadsheet"
_OTHERS = {
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a PowerPoint presentation",
    "Index/Document.iwa": "a document of Apple's iWork",
    "[Content_Types].xml": "an office document",
}
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_RELATION_STRICT = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"


def spreadsheet_kind(blob: Blob) -> str | None:
    """Return xlsx, xlsb, ods or xls by what the file holds, None where it is no office document.

    Raises DataError for one that is no spreadsheet, is locked by a password, or is damaged.
    """
    head = blob.head(8)
    if head == _OLE:
        return _ole_kind(blob)
    if not head.startswith(b"PK\x03\x04"):
        return None
    try:
        with closing(_seekable(blob)) as stream, zipfile.ZipFile(stream) as archive:
            return _zip_kind(blob.name, archive)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError):
        if blob.suffix in SUFFIXES:
            raise damaged(blob.name) from None
        return None  # an archive of texts, whose reader says what is wrong with it


def _zip_kind(name: str, archive: zipfile.ZipFile) -> str | None:
    names = archive.NameToInfo
    if "xl/workbook.xml" in names:
        return "xlsx"
    if "xl/workbook.bin" in names:
        return "xlsb"
    other = next((what for member, what in _OTHERS.items() if member in names), "")
    if "mimetype" in names and names["mimetype"].file_size < 256:
        told = archive.read("mimetype").strip()
        if told.startswith(_ODS):
            return "ods"
        other = other or ("an OpenDocument file" if told.startswith(b"application/vnd.oasis.opendocument") else "")
    if other:
        raise fatal(name, "file", f"is {other}, no spreadsheet", "save its table as .xlsx or CSV (UTF-8)")
    return None


def _ole_kind(blob: Blob) -> str:
    """Tell by the names in the file's directory; that of a document may hold a whole workbook, too."""
    held, rest = set(), b""
    names = {name: name.encode("utf-16-le") + b"\0\0" for name in ("Workbook", "Book", "WordDocument")}
    names |= {
        "EncryptedPackage": "EncryptedPackage".encode("utf-16-le"),
        "PowerPoint Document": b"P\0o\0w\0e\0r\0P\0o\0",
    }
    with guarded(blob.name), closing(blob.open()) as stream:
        while block := stream.read(_BLOCK):
            held |= {name for name, sign in names.items() if sign in rest + block}
            rest = block[-64:]
    if "EncryptedPackage" in held:
        raise locked(blob.name)
    if held & {"WordDocument", "PowerPoint Document"} or not held:
        what = "is an office document of before 2007, no spreadsheet"
        raise fatal(blob.name, "file", what, "save its table as .xlsx or CSV (UTF-8)")
    return "xls"


def locked(name: str) -> DataError:
    """Return the error of a file with a password."""
    return fatal(name, "file", "is locked by a password", "open it, take the password off, and save it again")


def damaged(name: str, why: object = "") -> DataError:
    """Return the error of a file that cannot be read."""
    wrong = "is damaged or cut short" + (f" ({shown(str(why))})" if str(why) else "")
    return fatal(name, "file", wrong, f"fetch it again, or open it in a spreadsheet program and {AS_CSV}")


def _seekable(blob: Blob) -> io.BufferedIOBase:
    if blob.path is not None:
        return blob.path.open("rb")
    return io.BytesIO(read_whole(blob, LARGEST, AS_CSV))


def too_large(name: str) -> DataError:
    """Return the error of a file that would need too much memory."""
    wrong = f"unpacks to more than {LARGEST >> 30} GB, which a spreadsheet needs in memory"
    return fatal(name, "file", wrong, AS_CSV + ", which is read row by row")


class Workbook:
    """An opened spreadsheet: `names` of its sheets, the visible ones in `visible`, and each with what stands in it.

    >>> Workbook(file_blob(Path("tickets.xlsx"))).names  # doctest: +SKIP
    ['Tickets', 'Notes']
    """

    def __init__(self, blob: Blob) -> None:
        from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

        kind = spreadsheet_kind(blob)
        if kind is None:
            raise fatal(blob.name, "file", "is no spreadsheet", "give .xlsx, .xls, .xlsb, .ods or CSV")
        self.name, self.kind = blob.name, kind
        with guarded(self.name), closing(_seekable(blob)) as stream:
            size = stream.seek(0, io.SEEK_END)
            if size > LARGEST:
                raise too_large(self.name)
            stream.seek(0)
            self._data = stream.read()
        self._scans: dict[str, Scan] = {}
        self._parts: dict[str, str] = {}
        with self._guarded():
            if kind == "xls":
                self._scans = scan_xls(workbook_stream(self._data))
                for name, scan in self._scans.items():
                    self._check_reach(name, scan)
            else:
                self._look()
            self._book = CalamineWorkbook.from_filelike(io.BytesIO(self._data))
        sheets = [sheet for sheet in self._book.sheets_metadata if sheet.typ == SheetTypeEnum.WorkSheet]
        self.names = [sheet.name for sheet in sheets]
        self.visible = [sheet.name for sheet in sheets if sheet.visible == SheetVisibleEnum.Visible]

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Turn what calamine, zipfile and the XML parsers raise into a DataError."""
        from python_calamine import CalamineError, PasswordError

        try:
            with guarded(self.name):
                yield
        except DataError:
            raise
        except PasswordError:
            raise locked(self.name) from None
        except (CalamineError, expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
            raise damaged(self.name, error) from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust; no Exception, and its module has no name to import
                raise
            raise damaged(self.name, error) from None

    def _look(self) -> None:
        """Measure what calamine will unpack, and find the sheets' parts."""
        with zipfile.ZipFile(io.BytesIO(self._data)) as archive:
            endings = (".xml", ".bin", ".rels")  # of what calamine reads
            members = [i for i in archive.infolist() if i.filename.lower().endswith(endings)]
            if any(info.flag_bits & 1 for info in members):
                raise locked(self.name)
            for info in members:
                if info.file_size > LARGEST:
                    raise too_large(self.name)
                if info.filename.startswith("xl/") and not info.filename.startswith(("xl/worksheets/", "xl/theme/")):
                    for _ in self._blocks(archive, info.filename):
                        pass
            if self.kind == "ods":
                manifest = "META-INF/manifest.xml"
                if manifest in archive.NameToInfo and b"encryption-data" in b"".join(self._blocks(archive, manifest)):
                    raise locked(self.name)
                self._scans = scan_ods(self._blocks(archive, "content.xml"))
                for name, scan in self._scans.items():  # calamine reads all sheets of an .ods when it opens it
                    self._check_reach(name, scan)
            else:
                self._parts = self._sheet_parts(archive)

    def _blocks(self, archive: zipfile.ZipFile, member: str) -> Iterator[bytes]:
        """Yield what a member holds, as long as it is bearable; what its header says of its size may be a lie."""
        info = copy.copy(archive.getinfo(member))
        info.file_size, size = 2 * LARGEST + 2 * _BLOCK, 0
        with archive.open(info) as stream:
            while block := stream.read(_BLOCK):
                size += len(block)
                if size > LARGEST or (size > BOMB[1] and size > BOMB[0] * info.compress_size):
                    raise too_large(self.name)
                yield block

    def _xml(self, archive: zipfile.ZipFile, member: str) -> ElementTree.Element:
        data = b"".join(self._blocks(archive, member))
        if b"<!DOCTYPE" in data:
            raise ValueError("declares a document type")
        return ElementTree.fromstring(data)

    def _sheet_parts(self, archive: zipfile.ZipFile) -> dict[str, str]:
        """Return sheet name → member of the archive, for the two kinds of Excel."""
        book = "xl/workbook.xml" if self.kind == "xlsx" else "xl/workbook.bin"
        relations = self._xml(archive, f"xl/_rels/{posixpath.basename(book)}.rels")
        targets = {each.get("Id"): each.get("Target", "") for each in relations}
        if self.kind == "xlsb":
            ids: dict[str, str | None] = dict(sheets_xlsb(b"".join(self._blocks(archive, book))))
        else:
            sheets = [each for each in self._xml(archive, book).iter() if each.tag.rpartition("}")[2] == "sheet"]
            ids = {each.get("name", ""): each.get(_RELATION) or each.get(_RELATION_STRICT) for each in sheets}
        return {
            name: posixpath.normpath(posixpath.join("/xl", targets[i]))[1:] for name, i in ids.items() if i in targets
        }

    def sheet(self, name: str) -> tuple[CalamineSheet, Scan]:
        """Return a sheet with what was found of it; DataError where it would not fit into memory."""
        with self._guarded():
            scan = self._scans.get(name) or self._scan(name)
            self._check_reach(name, scan)
            sheet = self._book.get_sheet_by_name(name)
            if not scan.merged:
                ranges = sheet.merged_cell_ranges or ()
                scan.merged = [(top, bottom, left) for (top, left), (bottom, _) in ranges if bottom > top]
        return sheet, scan

    def _check_reach(self, name: str, scan: Scan) -> None:
        if scan.height * scan.width > CELLS:
            corner = f"{column_letters(scan.width - 1)}{scan.height}"
            wrong = f"sheet {shown(name)} reaches to cell {corner}: {scan.height * scan.width:,} cells"
            todo = "delete what stands far outside the table (Ctrl+End shows the last cell), or " + AS_CSV
            raise fatal(self.name, "sheet", wrong, todo)

    def _scan(self, name: str) -> Scan:
        if self.kind in ("xls", "ods"):
            return Scan()
        with zipfile.ZipFile(io.BytesIO(self._data)) as archive:
            part = self._parts[name]
            if self.kind == "xlsb":
                scan = scan_xlsb(b"".join(self._blocks(archive, part)))
            else:
                scan = scan_xlsx(self._blocks(archive, part))
                if scan.height * scan.width > CELLS:
                    scan = scan_xlsx(self._blocks(archive, part), exact=True)
        self._scans[name] = scan
        return scan
