"""The names and the config of Hugging Face's BERT: there and back, the old ones understood, what is wrong named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import encoder, shape
from transformers import BertConfig, BertModel

from filbert.config import EncoderConfig
from filbert.errors import ModelError
from filbert.folder.layout import encoder_config, from_hugging_face, hugging_face_config, to_hugging_face


def their_bert(config: EncoderConfig) -> BertModel:
    return BertModel(BertConfig(**hugging_face_config(config, "BertModel")), add_pooling_layer=False)


def test_names_go_there_and_back():
    ours = encoder()
    theirs = to_hugging_face(ours.state_dict())
    assert theirs.keys() == their_bert(shape()).state_dict().keys()
    back = from_hugging_face(theirs, shape())
    assert all(np.array_equal(back[name], tensor) for name, tensor in ours.state_dict().items())


def test_old_names_and_prefixes_are_understood():
    theirs = to_hugging_face(encoder().state_dict())
    old = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for name, t in theirs.items()
    }
    assert all(np.array_equal(t, encoder().state_dict()[name]) for name, t in from_hugging_face(old, shape()).items())


def test_missing_and_misshapen_tensors_are_named():
    theirs = to_hugging_face(encoder().state_dict())
    with pytest.raises(ModelError, match=r"embeddings\.token\.weight.*\(11, 8\).*\(12, 8\)"):
        from_hugging_face(theirs, EncoderConfig(12, layers=2, hidden=8, heads=2, intermediate=32, max_positions=64))
    del theirs["encoder.layer.1.attention.self.key.bias"]
    with pytest.raises(ModelError, match=r"encoder\.layer\.1\.attention\.self\.key\.bias"):
        from_hugging_face(theirs, shape())


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_a_config_goes_there_and_back(position):
    config = shape(position=position, dropout=0.2, segments=3)
    assert encoder_config(hugging_face_config(config, "BertModel"), Path("config.json")) == config
