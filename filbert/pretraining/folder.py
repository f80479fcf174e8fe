"""Save and load a pre-trained model: an encoder with the heads of `transformers`' BertForPreTraining."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from filbert.bases.load import load_base
from filbert.config import EncoderConfig
from filbert.folder.layout import PRETRAINER, head_names, hugging_face_config
from filbert.folder.save import hugging_face_tensors, write_folder
from filbert.pretraining.network import PreTrainer
from filbert.text.tokenizer import Tokenizer

HEADS = {"mlm": ("transform", "transform_norm", "bias"), "pooler": ("pooler",), "nsp": ("next",)}  # of PreTrainer


def save_pretrained(
    folder: Path, model: PreTrainer, tokenizer: Tokenizer, info: dict[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write a pre-trained encoder with its heads; `info` goes into filbert.json and must have `max_length`."""
    shape = replace(model.encoder.config, dropout=EncoderConfig.dropout)  # of fine-tuning; pre-training uses 0
    config = {**hugging_face_config(shape, "BertForPreTraining"), "dtype": str(dtype).removeprefix("torch.")}
    tensors = {name: tensor.to(dtype) for name, tensor in hugging_face_tensors(model, PRETRAINER).items()}
    write_folder(folder, tensors, tokenizer, config, {"task": "pretrain", **info})


@dataclass(frozen=True)
class Pretrained:
    """An encoder with its MLM and NSP heads."""

    model: PreTrainer
    tokenizer: Tokenizer
    heads: frozenset[str]
    """Which of HEADS are trained; the others have random weights."""


def load_pretrained(folder: Path, generator: torch.Generator | None = None) -> Pretrained:
    """Open a base model with its heads; those it lacks get random weights. Raises ModelError."""
    encoder, tokenizer, tensors = load_base(folder)
    model = PreTrainer(encoder, generator)
    found = set()
    state = model.state_dict()
    for kind, names in HEADS.items():
        wanted = head_names({name: PRETRAINER[name] for name in names})
        if all(theirs in tensors and tensors[theirs].shape == state[ours].shape for ours, theirs in wanted.items()):
            model.load_state_dict({ours: tensors[theirs] for ours, theirs in wanted.items()}, strict=False)
            found.add(kind)
    if "pooler" not in found:
        found.discard("nsp")
    return Pretrained(model, tokenizer, frozenset(found))
