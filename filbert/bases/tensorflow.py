"""Read Google's original BERT checkpoints (three files) into named arrays, without TensorFlow.

`bert_model.ckpt.index` is a sorted table (LevelDB's format) of small protobuf records: for each variable its dtype,
shape, place in a `.data` file and CRC-32C. Every checksum is verified, every offset and size checked against the files
before a byte is allocated. Only tensors are read: the graph (`.meta`) is never opened, TF 2 object graphs are refused.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filbert.bases.crc32c import crc32c
from filbert.errors import ModelError, shown

CONFIG, VOCAB = "bert_config.json", "vocab.txt"  # as Google names them

INDEX_LIMIT = 1 << 18  # bytes; BERT-large with its optimizer's slots needs 70 kB
NAME_LIMIT = 1024  # bytes of a variable's name: prefix compression would let a hostile file build long ones cheaply
MAGIC = 0xDB4775248B80FB57
FOOTER, TRAILER = 48, 5  # bytes: two block handles, padding and MAGIC; a block's compression type and checksum

BFLOAT16 = 14
DTYPES = {  # TensorFlow's number → numpy's name; numpy has no bfloat16, which becomes float32 without loss
    1: "<f4",
    2: "<f8",
    3: "<i4",
    4: "u1",
    5: "<i2",
    6: "i1",
    9: "<i8",
    BFLOAT16: "<u2",
    19: "<f2",
}

SIZES = (  # required whole numbers of a BERT's config, named alike by Google and Hugging Face
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "max_position_embeddings",
    "type_vocab_size",
)
REST = ("hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "initializer_range")

_KNOWN = re.compile(  # the variables of BERT's pre-training graph; optimizer slots and step counters do not match
    r"bert/embeddings/(word|position|token_type)_embeddings"
    r"|bert/embeddings/LayerNorm/(gamma|beta)"
    r"|bert/encoder/layer_(0|[1-9]\d{0,2})/("
    r"(attention/self/(query|key|value)|attention/output/dense|intermediate/dense|output/dense)/(kernel|bias)"
    r"|(attention/)?output/LayerNorm/(gamma|beta))"
    r"|bert/pooler/dense/(kernel|bias)"
    r"|cls/predictions/transform/(dense/(kernel|bias)|LayerNorm/(gamma|beta))"
    r"|cls/predictions/output_bias|cls/seq_relationship/output_(weights|bias)",
    re.ASCII,
)
_LAST = {"kernel": "weight", "gamma": "weight", "beta": "bias", "output_weights": "weight", "output_bias": "bias"}

Array = NDArray[Any]


@dataclass(frozen=True)
class Variable:
    """Where a tensor is stored: `size` bytes from `offset` of `file`, their masked CRC-32C, dtype and shape."""

    file: Path
    offset: int
    size: int
    crc: int
    dtype: int
    shape: tuple[int, ...]


def is_checkpoint_folder(folder: Path) -> bool:
    """Return whether the folder looks like Google's checkpoints: it has `bert_config.json` and an `.index` file."""
    return (folder / CONFIG).is_file() and any(folder.glob("*.index"))


def find_prefix(source: Path) -> Path:
    """Return the checkpoint's prefix (`…/bert_model.ckpt`) for a prefix or a folder that holds one checkpoint.

    Raises ModelError where there is none, or several to choose from.
    """
    if _with(source, ".index").is_file():
        return source
    found = sorted(source.glob("*.index")) if source.is_dir() else []
    if len(found) > 1:
        found = [path for path in found if path.name == "bert_model.ckpt.index"] or found
    if len(found) != 1:
        names = ", ".join(path.name.removesuffix(".index") for path in found[:4])
        what = f"has several checkpoints ({names}) — name one" if names else "has no checkpoint — give"
        raise ModelError(f"{source} — {what}: FOLDER/bert_model.ckpt")
    return found[0].with_suffix("")


def variables(prefix: Path) -> dict[str, Variable]:
    """List the variables of a checkpoint by name, in order, without reading them.

    Raises ModelError, naming the file, where it is missing, damaged, foreign, or points outside its data files.
    """
    index = _inside(_with(prefix, ".index"))
    try:
        if index.stat().st_size > INDEX_LIMIT:
            raise ValueError(f"is larger than {INDEX_LIMIT >> 10} kB, too large for a BERT's index")
        table = dict(_table(index.read_bytes()))
        found = _entries(table, prefix)
    except FileNotFoundError as e:
        raise ModelError(f"{e.filename} is missing — copy the whole checkpoint") from None
    except (ValueError, IndexError, struct.error, OSError) as e:
        if isinstance(e, ModelError):
            raise
        what = "ends too early" if isinstance(e, (IndexError, struct.error)) else str(e)
        raise ModelError(f"{index} — {what} — download the checkpoint again") from None
    return found


def read_checkpoint(prefix: Path) -> dict[str, Array]:
    """Read all tensors of `PREFIX.index` and `PREFIX.data-…`, under TensorFlow's names, every checksum verified.

    Raises ModelError as `variables` does, and where a tensor fails its checksum.

    >>> read_checkpoint(Path("uncased_L-12_H-768_A-12/bert_model.ckpt"))["bert/pooler/dense/kernel"].shape
    (768, 768)
    """
    return {name: _tensor(name, variable) for name, variable in variables(prefix).items()}


def read_folder(source: Path) -> tuple[dict[str, Array], dict[str, Any], Path]:
    """Read a checkpoint folder or prefix → tensors as BertForPreTraining names them, Hugging Face config, vocabulary.

    Optimizer slots and other heads are left out: `hugging_face_name` says which. Raises ModelError.
    """
    prefix = find_prefix(source)
    tensors: dict[str, Array] = {}
    for name, variable in variables(prefix).items():
        if theirs := hugging_face_name(name):
            array = _tensor(name, variable)
            tensors[theirs] = np.ascontiguousarray(array.T) if name.endswith("/kernel") else array
    if not tensors:
        raise ModelError(f"{prefix} — has no variable under a BERT name — give one of Google's BERT checkpoints")
    vocab = _inside(prefix.parent / VOCAB)
    if not vocab.is_file():
        raise ModelError(f"{vocab} is missing — copy the whole checkpoint folder")
    return tensors, read_config(prefix.parent / CONFIG), vocab


def read_config(path: Path) -> dict[str, Any]:
    """Read `bert_config.json` as the content of a Hugging Face `config.json`; ModelError names the field."""
    try:
        if _inside(path).stat().st_size > INDEX_LIMIT:
            raise ModelError(
                f"{path} — is larger than {INDEX_LIMIT >> 10} kB, too large for a config — restore the file"
            )
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing — copy the whole checkpoint folder") from None
    except (OSError, ValueError, RecursionError) as e:
        if isinstance(e, ModelError):
            raise
        raise ModelError(f"{path} — cannot be read as JSON ({str(e)[:120]}) — restore the file") from None
    if not isinstance(fields, dict):
        raise ModelError(f"{path} — holds a {type(fields).__name__} — expected a JSON object")
    for name in SIZES:
        if type(fields.get(name)) is not int or not 0 < fields[name] < 10**7:
            raise ModelError(f"{path} {name} — is {shown(fields.get(name))} — expected a whole number above 0")
    known = {name: fields[name] for name in (*SIZES, *REST) if name in fields}
    fixed = {"architectures": ["BertForPreTraining"], "model_type": "bert", "layer_norm_eps": 1e-12, "pad_token_id": 0}
    return {**fixed, **known}  # 1e-12 stands in Google's code, not in its config files


def hugging_face_name(variable: str) -> str | None:
    """Translate a variable's name; None for what is no part of BertForPreTraining.

    >>> hugging_face_name("bert/encoder/layer_0/output/dense/kernel")
    'bert.encoder.layer.0.output.dense.weight'
    """
    if not _KNOWN.fullmatch(variable):
        return None
    *path, last = re.sub(r"/layer_(\d+)/", r"/layer/\1/", variable).split("/")
    return ".".join([*path, f"{last}.weight" if last.endswith("_embeddings") else _LAST.get(last, last)])


# ---- files ----


def _with(prefix: Path, ending: str) -> Path:
    return prefix.parent / (prefix.name + ending)


def _inside(path: Path) -> Path:
    """Return the path unless it is a link that leads out of its folder."""
    try:
        inside = path.resolve().parent == path.parent.resolve()
    except (OSError, RuntimeError):  # a link to itself
        inside = False
    if not inside:
        raise ModelError(f"{path} — is a link that leads out of its folder — put the file itself there")
    return path


def _tensor(name: str, variable: Variable) -> Array:
    with variable.file.open("rb") as file:
        file.seek(variable.offset)
        bytes_N = np.fromfile(file, np.uint8, variable.size)
    if _masked(crc32c(bytes_N)) != variable.crc:
        raise ModelError(f"{variable.file} {name} — fails its checksum — the file is damaged, download it again")
    array = bytes_N.view(DTYPES[variable.dtype])
    if variable.dtype == BFLOAT16:  # the upper half of a float32
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.reshape(variable.shape)


# ---- the table: blocks of prefix-compressed keys, found through an index block ----


def _table(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield keys and values in order. Raises ValueError, IndexError or struct.error where the bytes are no table."""
    if len(data) < FOOTER or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise ValueError("does not end as a checkpoint's index does: it was cut, or is another kind of file")
    meta, meta_size, offset, size = _varints(data[-FOOTER:], 4)
    for _ in _block(data, meta, meta_size):  # TensorFlow leaves it empty; its checksum is still verified
        pass
    last: bytes | None = None
    done = 0
    for _, value in _block(data, offset, size):
        start, length = _varints(value, 2)
        if start < done:
            raise ValueError("has blocks that overlap")
        done = start + length + TRAILER
        for key, content in _block(data, start, length):
            if last is not None and key <= last:
                raise ValueError("has keys out of order")
            yield key.decode("utf-8"), content
            last = key


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    end = offset + size
    if size < 4 or end + TRAILER > len(data) - FOOTER:
        raise ValueError("has a block that reaches beyond the file")
    kind, crc = struct.unpack_from("<BI", data, end)
    if _masked(crc32c(data[offset : end + 1])) != crc:
        raise ValueError("fails its checksum")
    if kind:
        raise ValueError(f"is compressed (type {kind}), which TensorFlow's checkpoints are not")
    restarts = struct.unpack_from("<I", data, end - 4)[0]  # for binary search, which we do not need
    stop, at, key = end - 4 - 4 * restarts, offset, b""
    while at < stop:
        shared, at = _varint(data, at)
        fresh, at = _varint(data, at)
        length, at = _varint(data, at)
        if shared > len(key) or shared + fresh > NAME_LIMIT or at + fresh + length > stop:
            raise ValueError("has an entry that reaches beyond its block")
        key = key[:shared] + data[at : at + fresh]
        yield key, data[at + fresh : at + fresh + length]
        at += fresh + length


def _varints(data: bytes, count: int) -> list[int]:
    values, at = [], 0
    for _ in range(count):
        value, at = _varint(data, at)
        values.append(value)
    return values


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number (seven bits a byte, lowest first) and the offset behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("has a number of more than ten bytes")


def _masked(crc: int) -> int:
    """Return a checksum in the masked form in which TensorFlow stores it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


# ---- the records: the few protobuf fields of BundleHeaderProto and BundleEntryProto ----


def _entries(table: dict[str, bytes], prefix: Path) -> dict[str, Variable]:
    header = _numbers(table.pop("", b""), "header")
    shards = header.get(1, 0)
    if not 0 < shards < 100_000 or header.get(2, 0):
        raise ValueError(f"has {shards} data files, byte order {header.get(2, 0)}: not a little-endian checkpoint")
    sizes: dict[Path, int] = {}
    found: dict[str, Variable] = {}
    for name, content in table.items():
        fields = _numbers(content, name)
        if fields.get(3, 0) >= shards:
            raise ValueError(f"places {shown(name)} in data file {fields[3]} of {shards}")
        file = _with(prefix, f".data-{fields.get(3, 0):05d}-of-{shards:05d}")
        if file not in sizes:
            sizes[file] = _inside(file).stat().st_size
        variable = _variable(name, content, fields, file)
        if variable.offset + variable.size > sizes[file]:
            raise ModelError(f"{file} {name} — ends too early for this tensor — download the checkpoint again")
        found[name] = variable
    if sum(variable.size for variable in found.values()) > sum(sizes.values()):
        raise ValueError("has tensors that overlap")
    return found


def _variable(name: str, content: bytes, fields: dict[int, int], file: Path) -> Variable:
    dtype, size, shape = fields.get(1, 0), fields.get(5, 0), []
    if dtype not in DTYPES:
        raise ValueError(f"has {shown(name)} of type {dtype}, which is not numeric: not one of Google's BERT files")
    for field, value in _fields(content):
        if field == 7:
            raise ValueError(f"has {shown(name)} cut into slices, which is not supported")
        if field == 2 and isinstance(value, bytes):
            dims = [dim for which, dim in _fields(value) if which == 2 and isinstance(dim, bytes)]
            shape = [_numbers(dim, name).get(1, 0) for dim in dims]
    if not size or len(shape) > 8 or math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize != size:
        raise ValueError(f"gives {shown(name)} {size} bytes for shape {shown(shape)}")
    return Variable(file, fields.get(4, 0), size, fields.get(6, 0), dtype, tuple(shape))


def _numbers(data: bytes, name: str) -> dict[int, int]:
    """Return the numeric fields of a record."""
    if not data:
        raise ValueError(f"has an empty record for {shown(name)}")
    return {field: value for field, value in _fields(data) if isinstance(value, int)}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("has a record that ends too early")
            value, at = data[at : at + size], at + size
        elif kind == 5:
            value, at = struct.unpack_from("<I", data, at)[0], at + 4
        else:
            raise ValueError(f"has a record with a field of kind {kind}")
        yield tag >> 3, value
