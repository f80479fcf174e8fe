"""A base model's folder, in Hugging Face's layout or Google's TensorFlow checkpoint: checked, opened, loaded.

Google's layout is known here and in tensorflow.py alone; everything else in Filbert sees the parts that come out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from filbert.bases import tensorflow
from filbert.folder.check import WEIGHTS, check_folder, check_names, file_names, harmless
from filbert.folder.layout import encoder_config
from filbert.folder.open import BaseParts, base_parts, open_base
from filbert.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from filbert.model.encoder import Encoder


def is_googles(folder: Path) -> bool:
    """Say whether the weights to be read are a TensorFlow checkpoint: there is one, and there are no safetensors.

    >>> is_googles(Path("uncased_L-12_H-768_A-12"))
    True
    """
    return tensorflow.is_checkpoint_folder(folder) and not any((folder / name).is_file() for name in WEIGHTS)


def check_base(folder: Path) -> None:
    """Raise ModelError, naming file and field, unless the folder is a whole BERT with its vocabulary; reads no weights.

    Of Google's folders the links, the configs and the names of the files are checked; of others, what
    `filbert.folder.check` checks.
    """
    if not is_googles(folder):
        check_names(file_names(folder), str(folder))
        check_folder(folder)
        return
    names = harmless(folder)
    tensorflow.find_prefix(folder)
    tensorflow.read_config(folder / tensorflow.CONFIG)
    check_names(names, str(folder), ((tensorflow.VOCAB,),))


def open_base_parts(folder: Path) -> BaseParts:
    """Open any BERT in either layout, without torch: config, weights in fp32, tokenizer, other tensors.

    Raises ModelError where a file is missing, damaged or unsafe, or where they do not belong together.
    """
    if not is_googles(folder):
        return open_base(folder)
    check_base(folder)
    tensors, fields, _ = tensorflow.read_folder(folder)
    return base_parts(folder, encoder_config(fields, folder / tensorflow.CONFIG), tensors)


def load_base(folder: Path) -> tuple[Encoder, Tokenizer, dict[str, Tensor]]:
    """Load any BERT in either layout → encoder (fp32), tokenizer, the tensors that are not the encoder's.

    Raises ModelError as `open_base_parts` does.
    """
    from filbert.folder.torch_parts import encoder_of, tensors_of_arrays

    parts = open_base_parts(folder)
    return encoder_of(parts.config, parts.weights), parts.tokenizer, tensors_of_arrays(parts.heads)
