"""Which texts a model has seen: a number of 8 bytes for each, so that who measures it can tell old texts from new ones.

`seen.safetensors` stands beside the model and may be deleted: then nothing is known. From the numbers no text can be
read, but who has a text can tell whether it was among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from filbert.files import write_tensors
from filbert.records import Example
from filbert.text.same import same_key

SEEN = "seen.safetensors"
PARTS = ("train", "validation")  # trained on; chosen and calibrated by

Keys = npt.NDArray[np.int64]


def save_seen(folder: Path, parts: Mapping[str, Sequence[Example]], fingerprint: str) -> None:
    """Write the numbers of the texts of train and validation, under the fingerprint of their data."""
    import torch

    keys = {name: torch.from_numpy(np.unique(_keys(parts[name]))) for name in PARTS}
    write_tensors(
        folder / SEEN, {**keys, "fingerprint": torch.frombuffer(bytearray.fromhex(fingerprint), dtype=torch.uint8)}
    )


def which_seen(folder: Path, info: Mapping[str, Any], examples: Sequence[Example]) -> dict[str, list[int]]:
    """Return which of these texts a model was trained on, and which others it was chosen by, as a model reads them.

    `info` is the model's manifest. Both are empty where nothing is known, or the file is of another model.
    """
    found: dict[str, list[int]] = {name: [] for name in PARTS}
    known = _read(folder / SEEN, str(info.get("data_fingerprint", "")))
    if known is None:
        return found
    keys_N = _keys(examples)
    new_N = np.ones(len(keys_N), dtype=bool)
    for name in PARTS:
        met_N = np.isin(keys_N, known[name]) & new_N
        new_N &= ~met_N
        found[name] = np.flatnonzero(met_N).tolist()
    return found


def _read(path: Path, fingerprint: str) -> dict[str, npt.NDArray[Any]] | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    with suppress(OSError, SafetensorError, KeyError, ValueError):
        known = load_file(str(path))
        if bytes(known["fingerprint"]).hex() == fingerprint and all(known[name].dtype == np.int64 for name in PARTS):
            return known
    return None


def _keys(examples: Sequence[Example]) -> Keys:
    return np.array([int.from_bytes(same_key(each.inputs)[:8], "big", signed=True) for each in examples], np.int64)
