"""A run folder in, its report out: report.html and README.md, and nothing else changed.

A pure function of report.json, filbert.json and train.jsonl: run it again, or on a moved folder, and the same bytes
come out. The task in report.json says which page and card: classify.py and card_classify.py, or pretrain.py and
card_pretrain.py. No numbers are computed here (metrics.py, evaluate.py), and nothing heavy is imported: words.py serves
the command line as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filbert.errors import ModelError
from filbert.pretraining import card as card_pretrain
from filbert.pretraining import page as pretrain
from filbert.report.html import Html
from filbert.report.page import Log, Report, Section, whole_page
from filbert.tasks.single_label import card as card_classify
from filbert.tasks.single_label import page as classify


@dataclass(frozen=True)
class Kind:
    """How the runs of one task are reported."""

    lacks: Callable[[Report], str]
    """What a report needs and does not have, or nothing."""
    heading: Callable[[Report], Html]
    sections: Sequence[Section]
    card: Callable[[Report, Log], str]


KINDS = {  # by task
    "classify": Kind(classify.lacks, classify.heading, classify.SECTIONS, card_classify.card),
    "pretrain": Kind(pretrain.lacks, pretrain.heading, pretrain.SECTIONS, card_pretrain.card),
}


def write_report(folder: Path) -> None:
    """Write `report.html` and `README.md` from what the run folder holds; each appears whole or not at all.

    Raises ModelError where report.json is missing, broken, of an unknown task or without scores.

        write_report(Path("runs/reviews"))
    """
    report = read_report(folder)
    log = read_log(folder / "train.jsonl")
    kind = KINDS[report["task"]]
    _replace(folder / "report.html", whole_page(report, log, kind.heading(report), kind.sections))
    _replace(folder / "README.md", kind.card(report, log))


def read_report(folder: Path) -> dict[str, Any]:
    """Return report.json, with the task where it has none (classify), and the versions from filbert.json likewise.

    >>> read_report(Path("nowhere"))
    Traceback (most recent call last):
    filbert.errors.ModelError: nowhere/report.json is missing — give the folder of a finished run
    """
    path = folder / "report.json"
    if not path.exists():
        raise ModelError(f"{path} is missing — give the folder of a finished run")
    report = {"task": "classify", **_read(path)}
    if report["task"] not in tuple(KINDS):
        raise ModelError(f"{path} task — is {report['task']!r:.80} — choose a run of {' or '.join(KINDS)}")
    wrong = KINDS[report["task"]].lacks(report)
    if wrong:
        raise ModelError(f"{path} {wrong}")
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
