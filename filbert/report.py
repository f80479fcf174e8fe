"""A run folder in, its report out: report.html and README.md, and nothing else changed.

A pure function of report.json, filbert.json and train.jsonl: run it again, or on a moved folder, and the same bytes
come out. What the page says is in report_page.py and report_facts.py, the model card in report_card.py. No numbers
are computed here (metrics.py, evaluate.py).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from filbert.errors import ModelError
from filbert.report_card import card
from filbert.report_page import page


def write_report(folder: Path) -> None:
    """Write `report.html` and `README.md` from what the run folder holds; each appears whole or not at all.

    Raises ModelError where report.json is missing, broken or without labels and scores.

        write_report(Path("runs/reviews"))
    """
    report = read_report(folder)
    log = read_log(folder / "train.jsonl")
    _replace(folder / "report.html", page(report, log))
    _replace(folder / "README.md", card(report))


def read_report(folder: Path) -> dict[str, Any]:
    """Return report.json, with the versions from filbert.json where it has none.

    >>> read_report(Path("nowhere"))
    Traceback (most recent call last):
    filbert.errors.ModelError: nowhere/report.json is missing — give the folder of a finished run
    """
    path = folder / "report.json"
    if not path.exists():
        raise ModelError(f"{path} is missing — give the folder of a finished run")
    report = _read(path)
    splits = report.get("scores") if isinstance(report.get("scores"), dict) else {}
    if not report.get("labels") or not any((splits or {}).get(split) for split in ("test", "validation")):
        raise ModelError(f"{path} has no labels, or no scores for test or validation — evaluate the model again")
    settings = _read(folder / "filbert.json") if (folder / "filbert.json").exists() else {}
    if settings.get("versions") and not report.get("versions"):
        report["versions"] = settings["versions"]
    return report


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of train.jsonl in the order of their steps, an empty list without one.

    A line cut short by a kill is skipped. After a resume some steps stand twice: the later line counts.
    """
    found: dict[tuple[float, bool], dict[str, Any]] = {}
    for line in path.read_text("utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("step"), (int, float)):
            found[entry["step"], "validation" in entry] = entry
    return [found[key] for key in sorted(found)]


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read ({error}) — evaluate the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds a {type(found).__name__}, expected an object — evaluate the model again")
    return found


def _replace(path: Path, text: str) -> None:
    """Write a file beside its place, then move it there: a reader sees the old one or the new one."""
    beside = path.with_name(path.name + ".partial")
    beside.write_text(text, "utf-8", newline="\n")
    os.replace(beside, path)
