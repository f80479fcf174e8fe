"""The run folder and the Hugging Face layout: load a base, save a model, open it again, and prove it whole.

A saved folder opens in `transformers` as it stands; `filbert.json` adds what that layout has no place for (task,
labels, data fingerprint) and the SHA-256 of every other file, so that weights, labels and vocabulary are one unit.
Weights are safetensors only; nothing here can run code from a file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from filbert import tensorflow
from filbert.bases import check_folder, is_googles
from filbert.config import EncoderConfig
from filbert.errors import ConfigError, ModelError
from filbert.foreign import read_json as read_json  # the training loop reads its checkpoints with it, too
from filbert.model.encoder import Encoder
from filbert.tasks.classify import Classifier
from filbert.tasks.pretrain import PreTrainer
from filbert.text.tokenizer import Tokenizer

FORMAT = 1  # of filbert.json
WHOLE = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")

PLAIN_BERT = {  # what a config may say of these; anything else is another model under BERT's name
    "hidden_act": "gelu",
    "is_decoder": False,
    "add_cross_attention": False,
    "position_embedding_type": "absolute",
}

_EMBEDDINGS = {
    "embeddings.token.weight": "embeddings.word_embeddings.weight",
    "embeddings.position.weight": "embeddings.position_embeddings.weight",
    "embeddings.segment.weight": "embeddings.token_type_embeddings.weight",
    "embeddings.norm": "embeddings.LayerNorm",
}
_LAYER = {  # ours → theirs; the fused qkv is apart
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}
_QKV = ("query", "key", "value")
CLASSIFIER = {"pooler": "pooler.dense", "classifier": "classifier"}
PRETRAINER = {
    "pooler": "pooler.dense",
    "transform": "cls.predictions.transform.dense",
    "transform_norm": "cls.predictions.transform.LayerNorm",
    "bias": "cls.predictions.bias",
    "next": "cls.seq_relationship",
}


def to_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an `Encoder`'s state to the names of BertModel, the fused query-key-value split in three."""
    theirs: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith("embeddings."):
            ours = next(ours for ours in _EMBEDDINGS if name.startswith(ours))
            theirs[_EMBEDDINGS[ours] + name[len(ours) :]] = tensor
            continue
        _, i, part, kind = name.split(".")
        if part == "qkv":
            for which, piece in zip(_QKV, tensor.chunk(3), strict=True):
                theirs[f"encoder.layer.{i}.attention.self.{which}.{kind}"] = piece.contiguous()
        else:
            theirs[f"encoder.layer.{i}.{_LAYER[part]}.{kind}"] = tensor
    return theirs


def from_hugging_face(theirs: Mapping[str, Tensor], config: EncoderConfig) -> dict[str, Tensor]:
    """Rename BertModel's tensors to an `Encoder`'s; `bert.` prefixes and the old gamma/beta are understood.

    Raises ModelError naming the first tensor that is missing or has another shape than `config` says.
    """
    plain = {_modern(name): tensor for name, tensor in theirs.items()}

    def get(name: str) -> Tensor:
        if name not in plain:
            raise ModelError(
                f"the weights have no tensor {name!r} — config.json and the weights are of different models"
            )
        return plain[name].float()

    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in Encoder(config).state_dict().items()}
    state: dict[str, Tensor] = {}
    for name, shape in wanted.items():
        if name.startswith("embeddings."):
            ours = next(ours for ours in _EMBEDDINGS if name.startswith(ours))
            state[name] = get(_EMBEDDINGS[ours] + name[len(ours) :])
        else:
            _, i, part, kind = name.split(".")
            if part == "qkv":
                state[name] = torch.cat([get(f"encoder.layer.{i}.attention.self.{which}.{kind}") for which in _QKV])
            else:
                state[name] = get(f"encoder.layer.{i}.{_LAYER[part]}.{kind}")
        if tuple(state[name].shape) != shape:
            raise ModelError(
                f"tensor {name!r} has shape {tuple(state[name].shape)}, config.json asks for {shape} — "
                "config.json and the weights are of different models"
            )
    return state


def _modern(name: str) -> str:
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def read_config(folder: Path) -> EncoderConfig:
    """Read the shape of a BERT from its Hugging Face `config.json`; ModelError names the field that is wrong."""
    return _shape(read_json(folder / "config.json"), folder / "config.json")


def _shape(told: Mapping[str, Any], file: Path) -> EncoderConfig:
    names = {
        "vocab_size": "vocab_size",
        "layers": "num_hidden_layers",
        "hidden": "hidden_size",
        "heads": "num_attention_heads",
        "intermediate": "intermediate_size",
        "max_positions": "max_position_embeddings",
        "segments": "type_vocab_size",
    }
    for name, wanted in PLAIN_BERT.items():
        if told.get(name, wanted) not in (wanted, None):
            raise ModelError(f"{file} {name} — is {told[name]!r} — plain BERT's {wanted!r} is supported")
    sizes = {}
    for ours, theirs in names.items():
        value = told.get(theirs, 2 if ours == "segments" else None)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 10**7:
            raise ModelError(f"{file} {theirs} — is {value!r} — expected a whole number above 0")
        sizes[ours] = value
    shares: dict[str, float] = {}
    for ours, theirs, usual in (("norm_eps", "layer_norm_eps", 1e-12), ("dropout", "hidden_dropout_prob", 0.1)):
        value = told.get(theirs, usual)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1:
            raise ModelError(f"{file} {theirs} — is {value!r} — expected a number from 0 to below 1")
        shares[ours] = float(value)
    position = "sinusoidal" if told.get("position") == "sinusoidal" else "learned"
    try:
        return EncoderConfig(**sizes, position=position, norm_eps=shares["norm_eps"], dropout=shares["dropout"])
    except ConfigError as e:
        raise ModelError(f"{file} num_attention_heads — {e}") from None


def _hugging_face_config(config: EncoderConfig, architecture: str) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": "bert",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.intermediate,
        "hidden_act": "gelu",
        "max_position_embeddings": config.max_positions,
        "type_vocab_size": config.segments,
        "layer_norm_eps": config.norm_eps,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": 0.0,
        "pad_token_id": 0,
        "position": config.position,
    }


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of `model.safetensors`, or of the shards its index names."""
    index = folder / "model.safetensors.index.json"
    files = ["model.safetensors"]
    if not (folder / files[0]).is_file() and index.is_file():
        files = sorted(set(read_json(index).get("weight_map", {}).values()))
    tensors: dict[str, Tensor] = {}
    for name in files:
        try:
            with safe_open(str(folder / name), framework="pt") as file:
                tensors.update({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 (no __iter__)
        except FileNotFoundError:
            raise ModelError(f"{folder / name} is missing — copy the whole model folder") from None
        except SafetensorError as e:
            raise ModelError(f"{folder / name} is damaged ({str(e)[:120]}) — restore the file") from None
    return tensors


def load_base(folder: Path) -> tuple[Encoder, Tokenizer, dict[str, Tensor]]:
    """Open any BERT in the Hugging Face layout or Google's → encoder (fp32), tokenizer, tensors that are no encoder's.

    Raises ModelError where a file is missing, damaged or unsafe, or where they do not belong together.
    """
    check_folder(folder)
    if is_googles(folder):
        arrays, told, _ = tensorflow.read_folder(folder)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        config = _shape(told, folder / tensorflow.CONFIG)
    else:
        config, tensors = read_config(folder), read_weights(folder)
    tokenizer = Tokenizer.from_folder(folder)
    if len(tokenizer) > config.vocab_size:
        raise ModelError(
            f"{folder} — the vocabulary has {len(tokenizer):,} tokens, the embeddings {config.vocab_size:,} rows — "
            "vocabulary and weights are of different models"
        )
    with torch.device("meta"):
        encoder = Encoder(config)
    encoder.load_state_dict(from_hugging_face(tensors, config), assign=True)
    encoder.embeddings.position.weight.requires_grad_(config.position == "learned")
    plain = {_modern(name): tensor.float() for name, tensor in tensors.items()}
    heads = {k: v for k, v in plain.items() if not k.startswith(("embeddings.", "encoder."))}
    return encoder, tokenizer, heads


@dataclass(frozen=True)
class Saved:
    """A classifier opened from its run folder."""

    model: Classifier
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_length: int
    info: dict[str, Any]  # filbert.json, or {} for a folder made by others


def save_model(
    folder: Path, model: Classifier, tokenizer: Tokenizer, labels: Sequence[str], info: dict[str, Any]
) -> None:
    """Write model, tokenizer, labels and manifest; each file is complete before it gets its name, the manifest last."""
    config = {
        **_hugging_face_config(model.encoder.config, "BertForSequenceClassification"),
        "problem_type": "single_label_classification",
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    _write_folder(
        folder, _theirs(model, CLASSIFIER), tokenizer, config, {"task": "classify", "labels": list(labels), **info}
    )


def save_pretrained(
    folder: Path, model: PreTrainer, tokenizer: Tokenizer, info: dict[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write a pre-trained encoder with its heads, as `transformers`' BertForPreTraining has them; `info` as above."""
    shape = replace(model.encoder.config, dropout=EncoderConfig.dropout)  # pre-trained without, fine-tuned with it
    config = {**_hugging_face_config(shape, "BertForPreTraining"), "dtype": str(dtype).removeprefix("torch.")}
    tensors = {name: tensor.to(dtype) for name, tensor in _theirs(model, PRETRAINER).items()}
    _write_folder(folder, tensors, tokenizer, config, {"task": "pretrain", **info})


def _theirs(model: nn.Module, heads: Mapping[str, str]) -> dict[str, Tensor]:
    """Return all tensors of a model under their Hugging Face names, in fp32."""
    state = {name: tensor.detach().float().cpu() for name, tensor in model.state_dict().items()}
    encoder = {name.removeprefix("encoder."): tensor for name, tensor in state.items() if name.startswith("encoder.")}
    tensors = {f"bert.{name}": tensor for name, tensor in to_hugging_face(encoder).items()}
    tensors |= {name: state[ours] for ours, name in _head_names(heads, "bert.").items()}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _head_names(heads: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """Return our tensor's name → theirs, for the modules (weight and bias) and single tensors of the heads."""
    names = {}
    for ours, theirs in heads.items():
        theirs = f"{prefix}{theirs}" if theirs.startswith("pooler") else theirs
        kinds = ("",) if ours == "bias" else (".weight", ".bias")
        names.update({ours + kind: theirs + kind for kind in kinds})
    return names


def _write_folder(
    folder: Path, tensors: dict[str, Tensor], tokenizer: Tokenizer, config: dict[str, Any], info: dict[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("filbert.json", "config.json"):  # a save cut short leaves a folder that does not open, never a mixture
        (folder / name).unlink(missing_ok=True)
    write_tensors(folder / "model.safetensors", tensors)
    tokenizer.save(folder, info["max_length"])
    write_json(folder / "config.json", config)
    files = {name: sha256(folder / name) for name in WHOLE}
    write_json(folder / "filbert.json", {"format": FORMAT, **info, "files": files})


@dataclass(frozen=True)
class Pretrained:
    """An encoder with its pre-training heads, where it has them."""

    model: PreTrainer
    tokenizer: Tokenizer
    has: frozenset[str]  # of "mlm" and "nsp"


def load_pretrained(folder: Path, generator: torch.Generator | None = None) -> Pretrained:
    """Open a base model with the heads it brings; heads it lacks start at random. Raises ModelError."""
    if (folder / "filbert.json").is_file():
        _check_files(folder, read_json(folder / "filbert.json"))
    encoder, tokenizer, heads = load_base(folder)
    model = PreTrainer(encoder, generator)
    has = set()
    state = model.state_dict()
    for kind, names in (("mlm", ("transform", "transform_norm", "bias")), ("pooler", ("pooler",)), ("nsp", ("next",))):
        wanted = _head_names({name: PRETRAINER[name] for name in names})
        if all(theirs in heads and heads[theirs].shape == state[ours].shape for ours, theirs in wanted.items()):
            model.load_state_dict({ours: heads[theirs] for ours, theirs in wanted.items()}, strict=False)
            has.add(kind)
    if "pooler" not in has:
        has.discard("nsp")
    return Pretrained(model, tokenizer, frozenset(has - {"pooler"}))


def load_model(folder: str | Path) -> Saved:
    """Open a run folder, or any BertForSequenceClassification, after checking that its parts belong together.

    Raises ModelError naming what is missing, damaged, foreign or inconsistent.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder — give the run folder that `filbert fit` wrote")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json — give a finished run folder, or finish it with `filbert fit`")
    info = read_json(folder / "filbert.json") if (folder / "filbert.json").is_file() else {}
    if info:
        _check_manifest(folder, info)
    encoder, tokenizer, heads = load_base(folder)
    labels = _labels(folder, info)
    model = Classifier(encoder, len(labels))
    for ours, theirs in CLASSIFIER.items():
        part = getattr(model, ours)
        for kind, tensor in part.state_dict().items():
            name = f"{theirs}.{kind}"
            if name not in heads:
                raise ModelError(
                    f"{folder} — the weights have no tensor {name!r} — this is no classifier: fit one first"
                )
            if heads[name].shape != tensor.shape:
                shapes = f"{name!r} has shape {tuple(heads[name].shape)}, not {tuple(tensor.shape)}"
                raise ModelError(f"{folder} — {len(labels)} labels but {shapes} — weights and labels differ")
        part.load_state_dict({kind: heads[f"{theirs}.{kind}"] for kind in part.state_dict()})
    longest = info.get("max_length", encoder.config.max_positions)
    return Saved(model.eval(), tokenizer, labels, min(longest, encoder.config.max_positions), info)


def _check_manifest(folder: Path, info: dict[str, Any]) -> None:
    if info.get("format") != FORMAT or info.get("task") != "classify":
        raise ModelError(
            f"{folder}/filbert.json — format {info.get('format')!r}, task {info.get('task')!r} — this version of "
            f"Filbert opens format {FORMAT}, task 'classify'; update Filbert"
        )
    for name, kind in (("labels", list), ("files", dict), ("max_length", int)):
        if not isinstance(info.get(name), kind):
            raise ModelError(f"{folder}/filbert.json {name} — is {info.get(name)!r} — restore the file")
    if info["max_length"] < 3:
        raise ModelError(f"{folder}/filbert.json max_length — is {info['max_length']} — restore the file")
    _check_files(folder, info)


def _check_files(folder: Path, info: dict[str, Any]) -> None:
    if set(info.get("files", ())) != set(WHOLE):
        raise ModelError(f"{folder}/filbert.json files — must list {', '.join(WHOLE)} — restore the file")
    for name, digest in info["files"].items():
        if not (folder / name).is_file():
            raise ModelError(f"{folder}/{name} is missing — copy the whole model folder")
        if sha256(folder / name) != digest:
            raise ModelError(
                f"{folder}/{name} — its SHA-256 differs from the manifest in filbert.json — the file was changed, "
                "damaged or comes from another run; restore it, or fit again"
            )


def _labels(folder: Path, info: dict[str, Any]) -> tuple[str, ...]:
    config = read_json(folder / "config.json")
    if config.get("problem_type") not in (None, "single_label_classification"):
        raise ModelError(
            f"{folder}/config.json problem_type — is {config['problem_type']!r} — one label a text is supported"
        )
    told = config.get("id2label", {})
    if not isinstance(told, dict) or sorted(told, key=str) != sorted(map(str, range(len(told)))):
        raise ModelError(f"{folder}/config.json id2label — must number the labels from 0 — restore the file")
    labels = tuple(str(told[str(i)]) for i in range(len(told)))
    if info and tuple(info["labels"]) != labels:
        raise ModelError(f"{folder} — labels of filbert.json and config.json differ — restore the folder")
    return labels


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all: to a neighbour first, then renamed."""
    scratch = path.with_name(path.name + ".part")
    with scratch.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors whole or not at all."""
    scratch = path.with_name(path.name + ".part")
    try:
        save_file(dict(tensors), str(scratch), metadata={"format": "pt"})
    except SafetensorError as e:  # the library's name for a full disk, too
        scratch.unlink(missing_ok=True)
        raise OSError(f"{path} could not be written ({str(e)[:120]})") from None
    with scratch.open("rb+") as file:
        os.fsync(file.fileno())
    scratch.replace(path)
