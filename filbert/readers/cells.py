"""The target's cell of a row: as it stands, out of several columns, or with the place where it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping

from filbert.readers.columns import Roles, indicated
from filbert.readers.formats.jsons import held_keys


def target_cell(row: Mapping[str, str], roles: Roles, nested: bool) -> str:
    """Return the target's cell; of several columns of 0 and 1, or an object of numbers, the labels that hold."""
    if roles.indicators:
        return indicated(row, roles.indicators)
    cell = row.get(roles.target, "") if roles.target else ""
    if roles.start is not None:
        return placed(cell, row.get(roles.start, ""))
    return held_keys(cell) if nested and cell.startswith("{") else cell


def placed(cell: str, start: str) -> str:
    """Return a target with the place where it begins as one JSON cell; without a place, or with its own, as it stands.

    >>> placed("Navy", "4"), placed("Navy", "")
    ('{"text": "Navy", "answer_start": "4"}', 'Navy')
    """
    if not start.strip() or not cell.strip() or '"answer_start"' in cell:
        return cell
    return json.dumps({"text": cell, "answer_start": start.strip()}, ensure_ascii=False)
