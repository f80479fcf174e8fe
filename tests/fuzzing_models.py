"""Fuzz targets: the files of a model folder, and checkpoints of others."""

from __future__ import annotations

import io
import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import table_files
import torch
from fuzzing import Draw, Files, Target, changed, dumped, json_changed
from fuzzing_texts import zipped
from hypothesis import strategies as st
from safetensors.numpy import save as tensors_of
from small import LABELS, classifier, save

from filbert.bases.tensorflow import read_checkpoint
from filbert.bases.unpickled import read_torch_bin
from filbert.inference.engine import load
from filbert.text.tokenizer import Tokenizer


@cache
def model_files() -> Files:
    """The files of a small finished model."""
    with tempfile.TemporaryDirectory() as name:
        folder = save(Path(name) / "m", classifier(hidden=8, intermediate=16), LABELS)
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def foreign(**changes: bytes) -> Files:
    """Return the same files as other people's folders hold them, without a manifest, some replaced."""
    files = {name: data for name, data in model_files().items() if name != "filbert.json"}
    return {**files, **{name.replace("__", "."): data for name, data in changes.items()}}


def read_model(folder: Path) -> None:
    """Open a model and ask it."""
    load(folder).predict(["not a good film"])


@st.composite
def config(draw: Draw) -> Files:
    """Return a model with another config.json, or, with or without its right checksums, another filbert.json."""
    if draw(st.booleans()):
        return foreign(config__json=dumped(draw(json_changed(json.loads(model_files()["config.json"])))))
    told = draw(json_changed(json.loads(model_files()["filbert.json"])))
    return {**model_files(), "filbert.json": draw(changed(dumped(told), 1))}


@st.composite
def tokenizer_file(draw: Draw) -> Files:
    """Return a model with another tokenizer.json."""
    told = draw(json_changed(json.loads(model_files()["tokenizer.json"])))
    return foreign(tokenizer__json=draw(changed(dumped(told), 1)))


@st.composite
def vocabulary(draw: Draw) -> Files:
    """Return a folder with a vocab.txt, and perhaps a tokenizer_config.json."""
    files = {"vocab.txt": draw(changed(model_files()["vocab.txt"]) | st.binary(max_size=60))}
    if draw(st.booleans()):
        files["tokenizer_config.json"] = dumped(draw(json_changed(json.loads(model_files()["tokenizer_config.json"]))))
    return files


def read_vocabulary(folder: Path) -> None:
    """Open a vocabulary and tokenize a text with it."""
    Tokenizer.from_folder(folder).encode(["Not a good film, 好看 [SEP] é"], offsets=True)


@st.composite
def safetensors(draw: Draw) -> Files:
    """Return a model whose weights have another header, or other bytes."""
    data = model_files()["model.safetensors"]
    size = int.from_bytes(data[:8], "little")
    if draw(st.booleans()):
        header = dumped(draw(json_changed(json.loads(data[8 : 8 + size]))))
        told = draw(st.just(len(header)) | st.integers(0, 2**64 - 1))
        return foreign(model__safetensors=told.to_bytes(8, "little") + header + data[8 + size :])
    if draw(st.booleans()):
        arrays = {"x": np.full(draw(st.integers(0, 9)), draw(st.floats(width=32)), np.float32)}
        return foreign(model__safetensors=tensors_of(arrays))
    return foreign(model__safetensors=draw(changed(data)))


@st.composite
def tensorflow(draw: Draw) -> Files:
    """Return a checkpoint of Google's whose records are changed under their right checksums, or any bytes."""
    record = draw(st.just(table_files.GOOD) | changed(table_files.GOOD))
    header = draw(st.just(table_files.HEADER) | changed(table_files.HEADER))
    names = draw(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=4, unique=True))
    items = [(b"", header), *((name, record) for name in sorted(names))]
    index = table_files.index(items, kind=draw(st.sampled_from([0, 0, 0, 1])))
    return {
        "m.ckpt.index": draw(st.just(index) | changed(index)),
        "m.ckpt.data-00000-of-00001": draw(st.just(table_files.BYTES) | st.binary(max_size=30)),
    }


@cache
def torch_bin(zipped_file: bool) -> bytes:
    held, state = io.BytesIO(), {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(3).half()}
    torch.save(state, held, _use_new_zipfile_serialization=zipped_file)  # noqa: TID251 (files to be read are made)
    return held.getvalue()


@st.composite
def pickled(draw: Draw) -> Files:
    """Return a pytorch_model.bin, of either kind, changed."""
    data = torch_bin(True)
    return {"m.bin": draw(zipped(data) | changed(torch_bin(False)))}


MODELS = {
    "vocabulary": Target(vocabulary(), read_vocabulary),
    "tokenizer": Target(tokenizer_file(), read_model),
    "config": Target(config(), read_model),
    "safetensors": Target(safetensors(), read_model),
    "tensorflow": Target(tensorflow(), lambda folder: read_checkpoint(folder / "m.ckpt")),
    "pickle": Target(pickled(), lambda folder: read_torch_bin(folder / "m.bin")),
}
