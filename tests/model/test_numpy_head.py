"""The head in numpy is torch's, whatever it reads; a text has the same bits in any batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import classifier, marked, shape, spread, tokenizer
from transformers import AutoModel

from filbert.folder.open import head_arrays, open_base
from filbert.folder.save import save_network
from filbert.folder.torch_parts import network_of
from filbert.model.encoder import Encoder, sinusoids
from filbert.model.head import Head
from filbert.model.network import PLACES, Network
from filbert.model.numpy_head import PLACES as SAME_PLACES
from filbert.model.numpy_head import NumpyHead
from filbert.model.numpy_head import sinusoids as numpy_sinusoids
from filbert.model.packing import pack
from filbert.model.run import outputs, tensors_of, token_outputs
from filbert.records import Features

MARKS = Head(1, "marks", pooled=False, layers=2)
HEADS = [
    MARKS,
    Head(3, "marks", layers=1),
    Head(2, "marks", pooled=False),
    Head(2, "tokens", pooled=False),
    Head(8, "mean", pooled=False, last=""),
    Head(3, "mean"),
]
TEXTS = marked([*range(2, 60, 3), 60])


def network(head: Head) -> Network:
    made = Network(Encoder(shape(), torch.Generator().manual_seed(0)), head, torch.Generator().manual_seed(0))
    return spread(made, 0, 0.3).eval()  # type: ignore[return-value]


def by_numpy(model: Network, texts: list[Features]) -> list[np.ndarray]:
    arrays = {name: x.numpy() for name, x in model.state_dict().items() if not name.startswith("encoder.")}
    batch = pack(texts)
    with torch.inference_mode():
        hidden_TD = model.encoder(*tensors_of(batch, "cpu")).numpy()
    found = NumpyHead(model.head, shape(), arrays).by_text(hidden_TD, batch)
    return [found[i] for i in batch.order_B.argsort()]


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_numpy_gives_what_torch_gives(head: Head) -> None:
    model = network(head)
    texts = TEXTS if head.rows == "marks" else [replace(text, marks=None, target=None) for text in TEXTS]
    theirs = (outputs if head.one_row else token_outputs)(model, texts, "cpu")
    for text, mine, yours in zip(TEXTS, by_numpy(model, texts), theirs, strict=True):
        rows = {"marks": (len(text.marks),), "tokens": (len(text),), "mean": ()}[head.rows]
        assert mine.shape == yours.shape == (*rows, head.outputs)
        np.testing.assert_allclose(mine, yours, atol=2e-5)


def test_a_text_has_the_same_bits_in_any_batch() -> None:
    model = network(MARKS)
    arrays = {name: x.numpy() for name, x in model.state_dict().items()}
    head, hidden = NumpyHead(MARKS, shape(), arrays), np.random.default_rng(0)
    rows = {i: hidden.normal(size=(len(text), 8)).astype(np.float32) for i, text in enumerate(TEXTS)}

    def scored(chosen: list[int]) -> dict[int, np.ndarray]:
        batch = pack(TEXTS, chosen)
        hidden_TD = np.concatenate([rows[i] for i in batch.order_B.tolist()])
        return dict(zip(batch.order_B.tolist(), head.by_text(hidden_TD, batch), strict=True))

    whole = scored([*range(len(TEXTS))])
    for chosen in ([0], [7, 3], [20, 19, 4]):
        assert all(np.array_equal(found, whole[i]) for i, found in scored(chosen).items())


def test_marks_see_each_other_inside_their_window_alone_and_know_their_number() -> None:
    model = network(MARKS)
    text = next(text for text in TEXTS if len(text.marks) >= 4)
    (before,) = token_outputs(model, [text], "cpu")
    fewer = Features(text.ids, text.segments, marks=text.marks[:-1], marked=text.marked)
    later = Features(text.ids, text.segments, marks=text.marks, marked=text.marked + 1)
    assert np.abs(token_outputs(model, [fewer], "cpu")[0] - before[:-1]).max() > 1e-3
    assert np.abs(token_outputs(model, [later], "cpu")[0] - before).max() > 1e-3
    np.testing.assert_allclose(token_outputs(model, [text, *TEXTS], "cpu")[0], before, atol=1e-5)


def test_a_loss_of_marks_moves_the_encoder_and_the_layers_between() -> None:
    model = network(MARKS)
    batch = pack(TEXTS)
    (model(*tensors_of(batch, "cpu"))[:, 0] * torch.as_tensor(batch.targets_B)).sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert still == []


def test_the_tables_are_one() -> None:
    assert PLACES == SAME_PLACES
    assert np.allclose(numpy_sinusoids(np.arange(PLACES, dtype=np.int32), 8), sinusoids(PLACES, 8).numpy(), atol=1e-6)


def test_it_is_saved_under_a_name_of_its_own_and_the_encoder_opens_elsewhere(tmp_path: Path) -> None:
    model = network(MARKS)
    info = {"task": "x", "settings": {}, "max_length": 64}
    save_network(tmp_path, model, tokenizer(), {"architectures": ["BertModel"]}, info)
    parts = open_base(tmp_path)
    opened = network_of(parts.config, parts.weights, MARKS, head_arrays(parts, MARKS, tmp_path))
    for mine, again in zip(*(token_outputs(each, TEXTS, "cpu") for each in (model, opened)), strict=True):
        assert np.array_equal(mine, again)
    theirs = AutoModel.from_pretrained(tmp_path).eval()
    text = TEXTS[5]
    with torch.inference_mode():
        hidden = theirs(
            input_ids=torch.as_tensor(text.ids)[None].long(),
            token_type_ids=torch.as_tensor(text.segments)[None].long(),
        ).last_hidden_state[0]
        ours = model.encoder(*tensors_of(pack([text]), "cpu"))
    assert torch.allclose(hidden, ours, atol=1e-5)
    with pytest.raises(ValueError, match=r"no tensor 'inter_sentence.2.qkv.weight'"):
        head_arrays(parts, Head(1, "marks", pooled=False, layers=3), tmp_path)


def test_a_usual_head_is_drawn_as_ever() -> None:
    """The order of random draws is part of what makes two runs the same."""
    assert [*Head(2).names()] == ["pooler", "last"]
    assert [name for name, _ in classifier().named_children()] == ["encoder", "pooler", "dropout", "last"]
