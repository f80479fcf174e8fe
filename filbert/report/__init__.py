"""Write report.html and README.md of a run folder.

They are a pure function of report.json, filbert.json and train.jsonl. The task passes its page and card as a `Kind`. No
numbers are computed here, and nothing heavy is imported, as the command line uses words.py, too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filbert.errors import ModelError, shown
from filbert.files import write_text
from filbert.language import speaking
from filbert.report.kind import Kind
from filbert.report.page import render_page


def write_report(folder: Path, kind: Kind, language: str | None = None) -> None:
    """Write `report.html` and `README.md` from the files of a run folder; each completely or not at all.

    The page is in `language`, or in the one that the run was fitted with; the card is in English, as hub pages are.
    Raises ModelError where report.json is missing, broken or lacks what `kind` needs.

        write_report(Path("runs/reviews"), kind)
    """
    report = {**read_report(folder), "folder": folder.resolve().name}
    log = read_log(folder / "train.jsonl")
    try:
        if wrong := kind.missing(report):
            raise ModelError(f"{folder / 'report.json'} {wrong}")
        with speaking(language or report.get("language") or "en"):
            page = render_page(report, log, kind.heading(report), kind.sections)
        with speaking("en"):
            card = kind.card(report, log)
    except ModelError:
        raise
    except (TypeError, AttributeError, LookupError, ValueError) as error:
        wrong = f"is not what a report is made of ({type(error).__name__}: {shown(str(error))})"
        raise ModelError(f"{folder / 'report.json'} — {wrong} — restore the file, or fit again") from error
    write_text(folder / "report.html", page)
    write_text(folder / "README.md", card)


def read_report(folder: Path) -> dict[str, Any]:
    """Return report.json, with the versions of filbert.json where it has none.

    >>> read_report(Path("nowhere"))
    Traceback (most recent call last):
    filbert.errors.ModelError: nowhere/report.json is missing — give the folder of a finished run
    """
    path = folder / "report.json"
    if not path.exists():
        raise ModelError(f"{path} is missing — give the folder of a finished run")
    report = _read(path)
    manifest = _read(folder / "filbert.json") if (folder / "filbert.json").exists() else {}
    if manifest.get("versions") and not report.get("versions"):
        report["versions"] = manifest["versions"]
    return report


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of train.jsonl in the order of their steps, an empty list without one.

    An incomplete last line is skipped. After a resume some steps are logged twice: the later line counts.
    """
    found: dict[tuple[float, bool], dict[str, Any]] = {}
    for line in path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), (int, float)):
            found[entry["step"], "validation" in entry] = entry
    return [found[key] for key in sorted(found)]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({error}) — evaluate the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds a {type(found).__name__}, expected an object — evaluate the model again")
    return found
