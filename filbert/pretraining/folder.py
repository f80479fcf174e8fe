"""The folder of a pre-trained model: an encoder with its heads, as `transformers`' BertForPreTraining has them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from filbert.bases.load import load_base
from filbert.config import EncoderConfig
from filbert.folder.layout import PRETRAINER, head_names, hugging_face_config
from filbert.folder.save import under_their_names, write_folder
from filbert.pretraining.network import PreTrainer
from filbert.text.tokenizer import Tokenizer

HEADS = {"mlm": ("transform", "transform_norm", "bias"), "pooler": ("pooler",), "nsp": ("next",)}  # of PreTrainer


def save_pretrained(
    folder: Path, model: PreTrainer, tokenizer: Tokenizer, info: dict[str, Any], dtype: torch.dtype = torch.float32
) -> None:
    """Write a pre-trained encoder with its heads, as `transformers`' BertForPreTraining has them; `info` as above."""
    shape = replace(model.encoder.config, dropout=EncoderConfig.dropout)  # pre-trained without, fine-tuned with it
    config = {**hugging_face_config(shape, "BertForPreTraining"), "dtype": str(dtype).removeprefix("torch.")}
    tensors = {name: tensor.to(dtype) for name, tensor in under_their_names(model, PRETRAINER).items()}
    write_folder(folder, tensors, tokenizer, config, {"task": "pretrain", **info})


@dataclass(frozen=True)
class Pretrained:
    """An encoder with its pre-training heads, where it has them."""

    model: PreTrainer
    tokenizer: Tokenizer
    has: frozenset[str]  # names of HEADS


def load_pretrained(folder: Path, generator: torch.Generator | None = None) -> Pretrained:
    """Open a base model with the heads it brings; heads it lacks start at random. Raises ModelError."""
    encoder, tokenizer, heads = load_base(folder)
    model = PreTrainer(encoder, generator)
    has = set()
    state = model.state_dict()
    for kind, names in HEADS.items():
        wanted = head_names({name: PRETRAINER[name] for name in names})
        if all(theirs in heads and heads[theirs].shape == state[ours].shape for ours, theirs in wanted.items()):
            model.load_state_dict({ours: heads[theirs] for ours, theirs in wanted.items()}, strict=False)
            has.add(kind)
    if "pooler" not in has:
        has.discard("nsp")
    return Pretrained(model, tokenizer, frozenset(has))
