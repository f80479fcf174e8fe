"""A base model loaded for training: encoder, tokenizer, and what else its weights hold."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from filbert.folder.open import open_base
from filbert.folder.torch_parts import encoder_of, tensors_of_arrays
from filbert.model.encoder import Encoder
from filbert.text.tokenizer import Tokenizer


def load_base(folder: Path) -> tuple[Encoder, Tokenizer, dict[str, Tensor]]:
    """Open any BERT in the Hugging Face layout or Google's → encoder (fp32), tokenizer, tensors that are no encoder's.

    Raises ModelError where a file is missing, damaged or unsafe, or where they do not belong together.
    """
    base = open_base(folder)
    return encoder_of(base.config, base.weights), base.tokenizer, tensors_of_arrays(base.heads)
