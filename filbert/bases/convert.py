"""Convert Google's TensorFlow checkpoints and `pytorch_model.bin` to a folder in Hugging Face's layout.

Neither TensorFlow nor pickle is used. The folder is written under a temporary name, opened and checked as a base model,
then moved. No value is changed: tensors are renamed, kernels transposed, copies of tied tensors left out. The files or
the user decide on lower-casing, never the folder's name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from filbert.bases import tensorflow
from filbert.bases.load import load_base
from filbert.bases.unpickled import read_torch_bin
from filbert.errors import ConfigError, ModelError
from filbert.files import draft_folder, read_json, sha256, write_json, write_tensors
from filbert.folder.check import refuse_code, refuse_links
from filbert.folder.layout import read_config
from filbert.folder.open import MODEL_FILES
from filbert.folder.save import publish
from filbert.owned import MANIFEST, finished, refuse_inputs
from filbert.text.tokenizer import Tokenizer
from filbert.version import versions

BIN = "pytorch_model.bin"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
RULES = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
TIED = {  # copies of tied tensors → their originals
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


@dataclass(frozen=True)
class _Source:
    """A model in an old format, as it was read."""

    kind: str
    folder: Path
    files: list[Path]  # without the tokenizer's
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    left_out: list[str]


def convert(source: Path, out: Path, *, overwrite: bool = False, lowercase: bool | None = None) -> dict[str, Any]:
    """Convert a TensorFlow checkpoint (folder or prefix) or a folder with `pytorch_model.bin` to a model folder.

    `lowercase` is needed only where neither `tokenizer_config.json` nor the vocabulary decides it. Returns what was
    read and written: files with SHA-256, tensors kept and left out, and where the casing is from. Raises ModelError
    where the source cannot be used or `lowercase` must be given, ConfigError where `out` exists (`overwrite` replaces
    only an earlier conversion) or `lowercase` contradicts `tokenizer.json`.

    >>> convert(Path("uncased_L-2_H-128_A-2"), Path("bert-tiny"))["lowercase"]
    True
    """
    source, out = Path(source), Path(out)
    _refuse_taken(out, overwrite)
    refuse_inputs(out, [source])
    read = _from_torch(source) if (source / BIN).exists() else _from_tensorflow(source)
    out.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(out) as draft:
        try:
            write_json(draft / "config.json", read.config)
            longest = read_config(draft).max_positions
            tokenizer, why = _tokenizer(read.folder, draft, lowercase)
            tokenizer.save(draft, longest)
            write_tensors(draft / "model.safetensors", read.tensors)
            load_base(draft)
        except ModelError as e:  # name the source: the draft is temporary
            raise ModelError(str(e).replace(str(draft), str(read.folder))) from None
        publish(draft, out, MODEL_FILES, {"task": "base", "max_length": longest, "versions": versions()})
    tokenizer_files = [read.folder / name for name in TOKENIZER if (read.folder / name).is_file()]
    return {
        "source": str(source),
        "format": read.kind,
        "read": {path.name: sha256(path) for path in (*read.files, *tokenizer_files)},
        "written": {name: sha256(out / name) for name in MODEL_FILES},
        "kept": sorted(read.tensors),
        "left_out": read.left_out,
        "lowercase": tokenizer.settings["do_lower_case"],
        "lowercase_from": why,
    }


# ---- the two sources ----


def _from_tensorflow(source: Path) -> _Source:
    prefix = tensorflow.find_prefix(source)
    refuse_links(prefix.parent)
    arrays, config, _ = tensorflow.read_folder(prefix)
    variables = tensorflow.variables(prefix)
    left_out = [name for name in variables if tensorflow.hugging_face_name(name) is None]
    index = prefix.parent / f"{prefix.name}.index"
    files = [index, *sorted({v.file for v in variables.values()}), prefix.parent / tensorflow.CONFIG]
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return _Source("tensorflow", prefix.parent, files, config, tensors, left_out)


def _from_torch(folder: Path) -> _Source:
    refuse_links(folder)
    config = folder / "config.json"
    if config.is_file():
        fields = {"model_type": "bert", **read_json(config)}  # the first releases did not write the type
    else:
        config = folder / tensorflow.CONFIG
        fields = tensorflow.read_config(config)
    refuse_code(config, fields)
    tensors, left_out = _renamed(read_torch_bin(folder / BIN), folder / BIN)
    return _Source("torch", folder, [folder / BIN, config], fields, tensors, left_out)


def _renamed(tensors: dict[str, Tensor], file: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Rename gamma and beta, leave out buffers and tied copies, give each tensor memory of its own."""
    kept: dict[str, Tensor] = {}
    left_out = []
    for name, tensor in tensors.items():
        tied = tensors.get(TIED.get(name, ""))
        if not tensor.is_floating_point() or (tied is not None and torch.equal(tensor, tied)):
            left_out.append(name)
            continue
        new = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if new in kept:
            raise ModelError(f"{file} {name} — is present under its old and its new name — use another copy")
        kept[new] = tensor.contiguous()
    owners: set[int] = set()
    for name, tensor in kept.items():
        storage = tensor.untyped_storage()
        if storage.data_ptr() in owners or storage.nbytes() != tensor.nbytes:
            kept[name] = tensor.clone()
        owners.add(storage.data_ptr())
    return kept, left_out


# ---- the tokenizer ----


def _tokenizer(folder: Path, draft: Path, lowercase: bool | None) -> tuple[Tokenizer, str]:
    """Return the tokenizer, with its files in `draft`, and where its casing is from: a file's name, or `given`."""
    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_folder(folder)
        if lowercase not in (None, tokenizer.settings["do_lower_case"]):
            raise ConfigError(f"{folder}/tokenizer.json says lowercase={not lowercase} — leave lowercase out")
        return tokenizer, "tokenizer.json"
    vocab = folder / "vocab.txt"
    if not vocab.is_file():
        raise ModelError(f"{vocab} is missing — copy the whole model folder")
    settings = folder / "tokenizer_config.json"
    fields = read_json(settings) if settings.is_file() else {}
    refuse_code(settings, fields)
    rules = {key: fields[key] for key in RULES if isinstance(fields.get(key), bool)}
    why = settings.name if "do_lower_case" in rules else vocab.name
    if lowercase is not None:
        rules["do_lower_case"], why = lowercase, "given"
    (draft / "vocab.txt").write_bytes(vocab.read_bytes())
    write_json(draft / settings.name, rules)
    return Tokenizer.from_folder(draft), why


# ---- the folder written ----


def _refuse_taken(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file — give a folder")
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    if names and (not finished(out) or names - {*MODEL_FILES, MANIFEST}):
        raise ConfigError(f"{out} holds files that are not a converted model's — give another folder")
    if names and not overwrite:
        raise ConfigError(f"{out} holds a model — give another folder, or allow overwrite")
