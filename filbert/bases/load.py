"""Check, open and load a base model's folder, in Hugging Face's layout or as Google's TensorFlow checkpoint.

Only this file and tensorflow.py know Google's layout; all other code sees `BaseParts`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from filbert.bases import tensorflow
from filbert.errors import ModelError
from filbert.files import read_json
from filbert.folder.check import POOLING, TOKENIZER, WEIGHTS, check_folder, check_names, file_names, safe_file_names
from filbert.folder.layout import encoder_config
from filbert.folder.open import BaseParts, base_parts, open_base
from filbert.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from filbert.model.encoder import Encoder


def is_tensorflow(folder: Path) -> bool:
    """Return whether the folder has a TensorFlow checkpoint and no safetensors.

    >>> is_tensorflow(Path("uncased_L-12_H-768_A-12"))
    True
    """
    return tensorflow.is_checkpoint_folder(folder) and not any((folder / name).is_file() for name in WEIGHTS)


def check_base(folder: Path) -> None:
    """Raise ModelError, naming file and field, unless the folder is a complete BERT with vocabulary; reads no weights.

    Google's folders: links, configs and file names are checked. Others: as in `filbert.folder.check`.
    """
    if not is_tensorflow(folder):
        check_names(file_names(folder), str(folder))
        check_folder(folder)
        return
    names = safe_file_names(folder)
    tensorflow.find_prefix(folder)
    tensorflow.read_config(folder / tensorflow.CONFIG)
    check_names(names, str(folder), ((tensorflow.VOCAB,),))


def files_of(folder: Path) -> list[str]:
    """Return the names of the files of a base model that decide what it is: config, weights and vocabulary, by name.

    >>> files_of(Path("bert-base-uncased"))
    ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json', 'vocab.txt']
    """
    names = {"tokenizer_config.json", tensorflow.VOCAB, *TOKENIZER}
    if is_tensorflow(folder):
        prefix = tensorflow.find_prefix(folder)
        shards = {variable.file.name for variable in tensorflow.variables(prefix).values()}
        names |= {tensorflow.CONFIG, f"{prefix.name}.index", *shards}
    else:
        index = folder / WEIGHTS[1]
        shards = set(read_json(index)["weight_map"].values()) if index.is_file() else set()
        names |= {"config.json", *WEIGHTS, *shards}
    return sorted(name for name in names if (folder / name).is_file())


def pooling_of(folder: Path) -> str:
    """Return "mean" where sentence-transformers trained a base by the mean of its tokens' vectors, else "cls".

    >>> pooling_of(Path("all-MiniLM-L6-v2")), pooling_of(Path("bert-base-uncased"))
    ('mean', 'cls')
    """
    try:
        found = read_json(folder / POOLING)
    except ModelError:  # most bases have none
        return "cls"
    mean = found.get("pooling_mode_mean_tokens") is True or found.get("pooling_mode") == "mean"
    return "mean" if mean else "cls"


def open_base_parts(folder: Path) -> BaseParts:
    """Open any BERT in either layout, without torch: config, weights in fp32, tokenizer, other tensors.

    Raises ModelError where a file is missing, damaged or unsafe, or where they do not belong together.
    """
    if not is_tensorflow(folder):
        return open_base(folder)
    check_base(folder)
    tensors, fields, _ = tensorflow.read_folder(folder)
    return base_parts(folder, encoder_config(fields, folder / tensorflow.CONFIG), tensors)


def load_base(folder: Path) -> tuple[Encoder, Tokenizer, dict[str, Tensor]]:
    """Load any BERT in either layout → encoder (fp32), tokenizer, and the tensors outside the encoder.

    Raises ModelError as `open_base_parts` does.
    """
    from filbert.folder.torch_parts import encoder_of, tensors_of_arrays

    parts = open_base_parts(folder)
    return encoder_of(parts.config, parts.weights), parts.tokenizer, tensors_of_arrays(parts.heads)
