"""Translate tensor names and `config.json` fields between Hugging Face's BERT ("theirs") and Filbert ("ours").

Our fused query-key-value is three tensors there; all other tensors are only renamed. check.py decides whether a folder
may be read; save.py writes folders and open.py reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize, safe_open

from filbert.config import EncoderConfig
from filbert.errors import ConfigError, ModelError, shown
from filbert.files import read_json

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float32]
MAX_LAYERS = 1_000  # BERT-large has 24
MOST_LABELS = 50_000  # 400,000 take 5 s to be refused
HEADER = 1 << 20  # bytes of the JSON at the beginning of safetensors; BERT-large has 400 tensors in 50 kB

PLAIN_BERT = {  # the supported values of these fields; any other value is another architecture
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
_LAYER = {  # ours → theirs; the fused qkv is handled separately
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm": "output.LayerNorm",
}
_QKV = ("query", "key", "value")
PRETRAINER = {
    "pooler": "pooler.dense",
    "transform": "cls.predictions.transform.dense",
    "transform_norm": "cls.predictions.transform.LayerNorm",
    "bias": "cls.predictions.bias",
    "next": "cls.seq_relationship",
}


def to_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an `Encoder`'s state dict to BertModel's names, the fused query-key-value split in three."""
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


def shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of an `Encoder`'s weights.

    >>> shapes(EncoderConfig(vocab_size=11, layers=1, hidden=8, heads=2, intermediate=32))["layers.0.qkv.weight"]
    (24, 8)
    """
    width = config.hidden
    tables = {"token": config.vocab_size, "position": config.max_positions, "segment": config.segments}
    found: dict[str, tuple[int, ...]] = {f"embeddings.{name}.weight": (rows, width) for name, rows in tables.items()}
    for i in range(config.layers):
        found |= layer_shapes(config, f"layers.{i}")
    return found | {f"embeddings.norm.{kind}": (width,) for kind in ("weight", "bias")}


def layer_shapes(config: EncoderConfig, layer: str) -> dict[str, tuple[int, ...]]:
    """Return the names, with the prefix `layer`, and shapes of the weights of a Transformer layer.

    >>> layer_shapes(EncoderConfig(vocab_size=11, layers=1, hidden=8, heads=2, intermediate=32), "layers.0")[
    ...     "layers.0.down.weight"
    ... ]
    (8, 32)
    """
    width, inner = config.hidden, config.intermediate
    linear = {"qkv": (3 * width, width), "out": (width, width), "up": (inner, width), "down": (width, inner)}
    found: dict[str, tuple[int, ...]] = {}
    for part, shape in linear.items():
        found |= {f"{layer}.{part}.weight": shape, f"{layer}.{part}.bias": shape[:1]}
    norms = (f"{layer}.attention_norm", f"{layer}.norm")
    return found | {f"{norm}.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}


def from_hugging_face(theirs: Mapping[str, Any], config: EncoderConfig) -> dict[str, Array]:
    """Rename BertModel's tensors to an `Encoder`'s, in fp32; `bert.` prefixes, gamma and beta are accepted.

    Raises ModelError naming the first tensor that is missing or has another shape than `config` says.
    """
    plain = modern_names(theirs)
    stored = {int(found[1]) for name in plain if (found := re.match(r"encoder\.layer\.(\d{1,9})\.", name))}
    if stored and max(stored) >= config.layers:
        raise ModelError(
            f"the weights have {max(stored) + 1:,} layers, config.json asks for {config.layers:,} — "
            "config.json and the weights are of different models"
        )

    def get(name: str) -> Array:
        if name not in plain:
            raise ModelError(
                f"the weights have no tensor {name!r} — config.json and the weights are of different models"
            )
        return as_fp32(name, plain[name])

    state: dict[str, Array] = {}
    for name, shape in shapes(config).items():
        if name.startswith("embeddings."):
            ours = next(ours for ours in _EMBEDDINGS if name.startswith(ours))
            state[name] = get(_EMBEDDINGS[ours] + name[len(ours) :])
        else:
            _, i, part, kind = name.split(".")
            if part == "qkv":
                state[name] = np.concatenate(
                    [get(f"encoder.layer.{i}.attention.self.{which}.{kind}") for which in _QKV]
                )
            else:
                state[name] = get(f"encoder.layer.{i}.{_LAYER[part]}.{kind}")
        if state[name].shape != shape:
            raise ModelError(
                f"tensor {name!r} has shape {state[name].shape}, config.json asks for {shape} — "
                "config.json and the weights are of different models"
            )
    return state


def as_fp32(name: str, tensor: Any) -> Array:
    """Return weights as fp32; ModelError where they are not floating-point numbers.

    >>> as_fp32("bias", np.zeros(2, np.float16)).dtype
    dtype('float32')
    """
    array = np.asarray(tensor)
    if array.dtype.kind != "f":
        raise ModelError(
            f"tensor {name!r} holds {array.dtype} — weights are floating-point numbers: download them again"
        )
    return np.asarray(array, dtype=np.float32)


def modern_names(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors under their `modern_name`; ModelError where two different ones have the same name."""
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        plain = modern_name(name)
        if plain in found and not np.array_equal(np.asarray(found[plain]), np.asarray(tensor)):
            raise ModelError(f"the weights have {plain!r} twice, with different values — download the model again")
        found[plain] = tensor
    return found


def modern_name(name: str) -> str:
    """Return a tensor's name without `bert.`, and with weight and bias where the first releases had gamma and beta.

    >>> modern_name("bert.embeddings.LayerNorm.gamma")
    'embeddings.LayerNorm.weight'
    """
    name = name.removeprefix("bert.")
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def read_config(folder: Path) -> EncoderConfig:
    """Read an EncoderConfig from a Hugging Face `config.json`; ModelError names the field that is wrong."""
    return encoder_config(read_json(folder / "config.json"), folder / "config.json")


def encoder_config(fields: Mapping[str, Any], file: Path) -> EncoderConfig:
    """Return the EncoderConfig of the fields of a `config.json`; ModelError names `file` and the field that is wrong.

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
    labels = fields.get("id2label")
    if isinstance(labels, dict) and len(labels) > MOST_LABELS:
        raise ModelError(f"{file} id2label — names {len(labels):,} labels — at most {MOST_LABELS:,} are read")
    for name, wanted in PLAIN_BERT.items():
        if fields.get(name, wanted) not in (wanted, None):
            raise ModelError(f"{file} {name} — is {fields[name]!r} — plain BERT's {wanted!r} is supported")
    sizes = {}
    for ours, theirs in names.items():
        value = fields.get(theirs, 2 if ours == "segments" else None)
        most = MAX_LAYERS if ours == "layers" else 10**7
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
            raise ModelError(f"{file} {theirs} — is {shown(value)} — expected a whole number from 1 to {most:,}")
        sizes[ours] = value
    fractions: dict[str, float] = {}
    for ours, theirs, default in (("norm_eps", "layer_norm_eps", 1e-12), ("dropout", "hidden_dropout_prob", 0.1)):
        value = fields.get(theirs, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1:
            raise ModelError(f"{file} {theirs} — is {value!r} — expected a number from 0 to below 1")
        fractions[ours] = float(value)
    position = "sinusoidal" if fields.get("position") == "sinusoidal" else "learned"
    try:
        return EncoderConfig(**sizes, position=position, norm_eps=fractions["norm_eps"], dropout=fractions["dropout"])
    except ConfigError as e:
        raise ModelError(f"{file} num_attention_heads — {e}") from None


def hugging_face_config(config: EncoderConfig, architecture: str) -> dict[str, Any]:
    """Return the fields of `config.json` for an EncoderConfig; `architecture` is the class in `transformers`.

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


def read_weights(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Read all tensors of `model.safetensors`, or of the shards that its index names; bf16 is widened to fp32."""
    index = folder / "model.safetensors.index.json"
    files = ["model.safetensors"]
    if not (folder / files[0]).is_file() and index.is_file():
        files = sorted(set(read_json(index).get("weight_map", {}).values()))
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name in files:
        try:
            _check_header(folder / name)
            with safe_open(str(folder / name), framework="np") as file:
                narrow = {key for key in file.keys() if file.get_slice(key).get_dtype() == "BF16"}  # noqa: SIM118
                tensors.update({key: file.get_tensor(key) for key in file.keys() if key not in narrow})  # noqa: SIM118
            if narrow:  # numpy has no bf16
                entries = deserialize((folder / name).read_bytes())  # type: ignore[no-untyped-call]
                tensors.update({key: _widened(entry) for key, entry in entries if key in narrow})
        except FileNotFoundError:
            raise ModelError(f"{folder / name} is missing — copy the whole model folder") from None
        except (SafetensorError, TypeError) as e:  # TypeError: a dtype that numpy lacks
            raise ModelError(f"{folder / name} is damaged ({str(e)[:120]}) — restore the file") from None
    return tensors


def _check_header(path: Path) -> None:
    """Raise ModelError where the header is so long that it cannot be a BERT's; of a million tensors it takes 26 s."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > HEADER and path.stat().st_size >= size:  # a longer one than the file is the library's to refuse
        raise ModelError(f"{path} — its header has {size:,} bytes, a BERT's at most {HEADER:,} — restore the file")


def _widened(entry: Mapping[str, Any]) -> Array:
    """Return a bf16 tensor of a safetensors file as fp32, without loss."""
    bits = np.frombuffer(entry["data"], dtype="<u2").astype(np.uint32) << 16
    return bits.view(np.float32).reshape(entry["shape"])


def head_names(heads: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """Return our tensor names → theirs, for the modules (weight and bias) and single tensors of the heads.

    `prefix` is put before the pooler only, which belongs to the encoder in Hugging Face's layout.

    >>> head_names({"pooler": "pooler.dense"}, "bert.")
    {'pooler.weight': 'bert.pooler.dense.weight', 'pooler.bias': 'bert.pooler.dense.bias'}
    """
    names = {}
    for ours, theirs in heads.items():
        theirs = f"{prefix}{theirs}" if theirs.startswith("pooler") else theirs
        kinds = ("",) if ours == "bias" else (".weight", ".bias")
        names.update({ours + kind: theirs + kind for kind in kinds})
    return names
