"""Hugging Face's BERT and ours: the names of tensors and the fields of `config.json`, there and back.

The fused query-key-value of our layers is three tensors there; the rest is renamed. Whether a folder may be read at all
is decided in folders.py, what is saved and opened in checkpoint.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from filbert.config import EncoderConfig
from filbert.errors import ConfigError, ModelError
from filbert.foreign import read_json
from filbert.model.encoder import Encoder

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
    plain = {modern_name(name): tensor for name, tensor in theirs.items()}

    def get(name: str) -> Tensor:
        if name not in plain:
            raise ModelError(
                f"the weights have no tensor {name!r} — config.json and the weights are of different models"
            )
        return plain[name].float()

    shapes = Encoder(config, filled=False).state_dict()
    wanted = {name: tuple(tensor.shape) for name, tensor in shapes.items()}
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


def modern_name(name: str) -> str:
    """Return a tensor's name without `bert.`, and with weight and bias where the first releases had gamma and beta.

    >>> modern_name("bert.embeddings.LayerNorm.gamma")
    'embeddings.LayerNorm.weight'
    """
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def read_config(folder: Path) -> EncoderConfig:
    """Read the shape of a BERT from its Hugging Face `config.json`; ModelError names the field that is wrong."""
    return encoder_config(read_json(folder / "config.json"), folder / "config.json")


def encoder_config(told: Mapping[str, Any], file: Path) -> EncoderConfig:
    """Return the shape that the fields of a `config.json` tell; ModelError names `file` and the field that is wrong.

    >>> encoder_config(hugging_face_config(EncoderConfig(30522), "BertModel"), Path("config.json")).layers
    6
    """
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


def hugging_face_config(config: EncoderConfig, architecture: str) -> dict[str, Any]:
    """Return the fields of `config.json` for a BERT of that shape, as the class named by `architecture` reads them.

    >>> hugging_face_config(EncoderConfig(30522), "BertModel")["hidden_size"]
    384
    """
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


def head_names(heads: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """Return our tensor's name → theirs, for the modules (weight and bias) and single tensors of the heads.

    `prefix` goes before the pooler alone, which is the encoder's in Hugging Face's layout.

    >>> head_names({"pooler": "pooler.dense"}, "bert.")
    {'pooler.weight': 'bert.pooler.dense.weight', 'pooler.bias': 'bert.pooler.dense.bias'}
    """
    names = {}
    for ours, theirs in heads.items():
        theirs = f"{prefix}{theirs}" if theirs.startswith("pooler") else theirs
        kinds = ("",) if ours == "bias" else (".weight", ".bias")
        names.update({ours + kind: theirs + kind for kind in kinds})
    return names
