"""The texts that finished runs were measured on, read again from the source that their report names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from filbert.data.splits import fingerprint
from filbert.errors import ConfigError, FilbertError
from filbert.files import read_json
from filbert.finetuning.dataset import read_dataset
from filbert.readers.options import ReadOptions
from filbert.records import Example
from filbert.report import read_report
from filbert.report.words import main_split

TODO = "name labelled texts with --data"


def held_out_again(folders: Sequence[Path], read: ReadOptions) -> tuple[list[Example], str]:
    """Return the texts that all of these runs were measured on, and their split.

    They are divided as the first run did it, and known to be the same by their fingerprint. Raises ConfigError where
    the runs were measured on different texts, or these cannot be read again without more options.

    >>> held_out_again([Path("runs/a"), Path("runs/b")], ReadOptions())[1]  # doctest: +SKIP
    'validation'
    """
    reports = [read_report(folder) for folder in folders]
    split = main_split(reports[0])
    wanted = {_fingerprint(report, split) for report in reports}
    if len(wanted) > 1 or None in wanted:
        raise ConfigError(f"the runs were not measured on the same texts — {TODO}")
    first, info = reports[0], read_json(folders[0] / "filbert.json")
    source, seed = str(first["data"].get("source", "")), (first.get("training") or {}).get("seed", 0)
    if not Path(source).exists():
        raise ConfigError(f"the texts of {folders[0]} are no longer at {source} — {TODO}")
    columns = {key: names for key, names in (info.get("columns") or {}).items() if any(names)}
    try:
        data = read_dataset(source, replace(read, columns=columns), task=first["task"], seed=int(seed))
    except FilbertError as error:
        raise ConfigError(f"{source} cannot be divided again as {folders[0]} did it ({error}) — {TODO}") from error
    examples = data.splits.parts.get(split, [])
    if fingerprint(examples) not in wanted:
        raise ConfigError(f"{source} has changed, or was read with other options by {folders[0]} — {TODO}")
    return list(examples), split


def _fingerprint(report: dict[str, Any], split: str) -> str | None:
    if main_split(report) != split:
        return None
    found = (report.get("data") or {}).get("fingerprints") or {}
    return str(found[split]) if split in found else None
