"""The encoder is BERT: equal to `transformers` with the same weights, whatever the texts beside."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from small import NATIVE_TRAINING, each_native_training, encoder, padded, rows, shape, spread
from transformers import BertConfig, BertModel

from filbert.config import EncoderConfig
from filbert.errors import ConfigError
from filbert.folder.layout import from_hugging_face, shapes
from filbert.model.attention import Chosen, Spans
from filbert.model.encoder import Dropout, Encoder, Linear, add_norm, initialise, linear_gelu, sinusoids
from filbert.model.head import Head
from filbert.model.native_training import can_activate, can_add_norm, can_attend, can_drop
from filbert.model.network import Network
from filbert.model.packing import pack
from filbert.model.run import tensors_of

LENGTHS = [3, 9, 9, 10, 24, 2, 64]


def their_bert(config: EncoderConfig, seed: int = 0) -> BertModel:
    theirs = BertModel(
        BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.intermediate,
            max_position_embeddings=config.max_positions,
            type_vocab_size=config.segments,
            attn_implementation="eager",
        ),
        add_pooling_layer=False,
    )
    return spread(theirs, seed).eval()


def ours_from(theirs: BertModel, config: EncoderConfig) -> Encoder:
    ours = Encoder(config).eval()
    state = from_hugging_face(theirs.state_dict(), config)
    ours.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return ours


@torch.no_grad()
def test_hidden_equals_transformers():
    config = shape(hidden=24, heads=3, layers=3)
    theirs = their_bert(config)
    ours, batch = ours_from(theirs, config), pack(rows(LENGTHS))
    hidden_TD = ours(*tensors_of(batch, "cpu"))
    features = [rows(LENGTHS)[i] for i in batch.order_B]
    expected_BLD = theirs(**padded(features)).last_hidden_state
    expected_TD = torch.cat([expected_BLD[b, : len(row)] for b, row in enumerate(features)])
    assert (hidden_TD - expected_TD).abs().max() <= 1e-5
    assert hidden_TD.std() > 0.3  # not equal because both are flat


def test_gradients_equal_transformers():
    config = shape(dropout=0.0)
    theirs, batch = their_bert(config), pack(rows(LENGTHS))
    ours = ours_from(theirs, config)
    ours(*tensors_of(batch, "cpu"), first_only=True).square().sum().backward()
    theirs(**padded([rows(LENGTHS)[i] for i in batch.order_B])).last_hidden_state[:, 0].square().sum().backward()
    expected = from_hugging_face({name: p.grad for name, p in theirs.named_parameters()}, config)
    for name, p in ours.named_parameters():
        torch.testing.assert_close(p.grad, torch.from_numpy(expected[name]), rtol=1e-4, atol=1e-4, msg=name)


def test_the_names_and_shapes_of_weights_are_told_without_torch():
    config = shape(hidden=24, heads=3, layers=3, segments=3)
    state = Encoder(config).state_dict()
    assert shapes(config) == {name: tuple(tensor.shape) for name, tensor in state.items()}


def test_segments_count():
    config = shape()
    theirs = their_bert(config)
    ours, batch = ours_from(theirs, config), pack(rows([7]))
    ids, positions = (torch.as_tensor(x) for x in (batch.ids_T, batch.positions_T))
    segments, spans = (positions > 3).int(), Spans(batch.starts_B)
    with torch.no_grad():
        expected = theirs(ids[None].long(), token_type_ids=segments[None].long()).last_hidden_state[0]
        assert (ours(ids, positions, segments, spans) - expected).abs().max() <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_first_only_is_the_first_rows(position):
    ours, batch = encoder(position=position), pack(rows(LENGTHS))
    ids, positions, segments, spans = tensors_of(batch, "cpu")
    full_TD = ours(ids, positions, segments, spans)
    first_BD = ours(ids, positions, segments, spans, first_only=True)
    torch.testing.assert_close(first_BD, full_TD[spans.first_B], rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, *NATIVE_TRAINING])
def test_chosen_rows_are_those_rows_and_have_their_gradient(dtype):
    ours, batch = encoder(hidden=64, intermediate=64).to(dtype), pack(rows(LENGTHS))
    tensors = tensors_of(batch, "cpu")
    others_M = torch.tensor([100, 4, 30, 31, 60])
    chosen, results = Chosen.of(tensors[-1], others_M), []
    assert can_attend(torch.zeros(1, 64, dtype=dtype), ours.layers[0].heads) == (dtype != torch.float64)
    for only in (None, chosen):
        ours.zero_grad()
        hidden = ours(*tensors, chosen=only)
        asked = hidden[
            torch.cat((tensors[-1].first_B, others_M) if only is None else (chosen.first_B, chosen.others_M))
        ]
        wish = torch.randn(asked.shape, generator=torch.Generator().manual_seed(1))
        (asked.float() * wish).sum().backward()
        results.append([asked.detach(), *(p.grad.clone() for p in ours.parameters())])
    for full, some in zip(*results, strict=True):
        assert (full - some).norm() <= (0.02 if dtype == torch.bfloat16 else 1e-5) * full.norm()


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("first_only", [False, True], ids=["all", "first only"])
def test_batch_mates_change_no_bit(dtype, first_only):
    ours, features = encoder().to(dtype), rows([5, 9, 9, 10])
    mates = [features[0], *rows([9, 9, 10], seed=5)]
    alike = [ours(*tensors_of(pack(texts), "cpu"), first_only=first_only) for texts in (features, mates)]
    kept = 1 if first_only else len(features[0])
    assert torch.equal(alike[0][:kept], alike[1][:kept])
    assert not torch.equal(alike[0][kept:], alike[1][kept:])


def test_sinusoids_are_the_formula():
    table_PD = sinusoids(50, 12)
    for i in (0, 1, 7, 49):
        for j in range(6):
            angle = i / 10_000 ** (2 * j / 12)
            assert table_PD[i, 2 * j] == pytest.approx(math.sin(angle), abs=1e-7)
            assert table_PD[i, 2 * j + 1] == pytest.approx(math.cos(angle), abs=1e-7)
    assert sinusoids(3, 5).shape == (3, 5)


def test_sinusoidal_positions_are_fixed():
    ours = Encoder(shape(position="sinusoidal"))
    assert torch.equal(ours.embeddings.position.weight, sinusoids(64, 8))
    assert not ours.embeddings.position.weight.requires_grad
    assert Encoder(shape()).embeddings.position.weight.requires_grad


def test_initialisation():
    ours = Encoder(EncoderConfig(500, layers=2, hidden=64, heads=4, intermediate=256), torch.Generator().manual_seed(0))
    for name, p in ours.named_parameters():
        if p.ndim > 1 and "segment" not in name:
            assert p.std().item() == pytest.approx(0.02, rel=0.05), name
            assert abs(p.mean().item()) < 6 * 0.02 / p.numel() ** 0.5, name
        elif "norm" in name and name.endswith("weight"):
            assert (p == 1).all(), name
        elif name.endswith("bias"):
            assert (p == 0).all(), name


def test_initialisation_is_fixed_by_the_generator():
    a, b, c = (Encoder(shape(), torch.Generator().manual_seed(seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["embeddings.token.weight"], c["embeddings.token.weight"])


# -- dropout ----------------------------------------------------------------------------------------------------------

MANY = 1_000_003  # not a multiple of 8: the mask is drawn in words of eight bytes


def deviations(kept: int, share: float, count: int = MANY) -> float:
    return abs(kept - count * share) / math.sqrt(count * share * (1 - share))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_dropout_keeps_its_share_and_the_mean(share):
    torch.manual_seed(0)
    out = Dropout(share).train()(torch.ones(MANY))
    real = round(share * 256) / 256
    assert abs(real - share) <= 1 / 512
    assert deviations(int((out > 0).sum()), 1 - real) < 5
    assert torch.equal(out.unique(), torch.tensor([0.0, 1 / (1 - real)]))
    assert out.mean().item() == pytest.approx(1, abs=5 * math.sqrt(real / (1 - real) / MANY))


def test_dropout_draws_every_number_by_itself():
    """Neighbours, and numbers eight apart (the same byte of the next word), are dropped independently."""
    torch.manual_seed(1)
    kept = Dropout(0.5).train()(torch.ones(MANY)) > 0
    for apart in (1, 2, 7, 8, 64):
        assert deviations(int((kept[:-apart] & kept[apart:]).sum()), 0.25, MANY - apart) < 5


def test_dropout_adds_to_the_residual():
    torch.manual_seed(0)
    x, residual = torch.full((1001,), 3.0), torch.arange(1001.0)
    out = Dropout(0.5).train()(x, residual)
    assert set((out - residual).tolist()) == {0.0, 6.0}


def test_dropout_does_nothing_in_evaluation():
    x, residual = torch.randn(9), torch.randn(9)
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(Dropout(0.5).eval()(x, residual), x + residual)
    assert Dropout(0.0).train()(x) is x


@pytest.mark.parametrize(("rows", "drops"), [("first", True), ("mean", True), ("tokens", False)])
def test_a_head_on_tokens_has_no_dropout_of_its_own(rows, drops):
    """As `qa_outputs` in Devlin's code and in transformers."""
    network = Network(encoder(dropout=0.5), Head(2, rows, pooled=False))
    ids_T = torch.tensor([2, 5, 3])
    given = ids_T, torch.arange(3), torch.zeros_like(ids_T), Spans([0, 3])
    quiet = network.eval()(*given)
    network.dropout.train()
    assert torch.equal(network(*given), quiet) != drops


@pytest.mark.parametrize("with_residual", [False, True])
def test_dropout_passes_the_gradient_of_what_it_kept(with_residual):
    torch.manual_seed(0)
    x, residual = torch.ones(1001, requires_grad=True), torch.zeros(1001, requires_grad=True)
    out = Dropout(0.3).train()(x, residual if with_residual else None)
    out.sum().backward()
    torch.testing.assert_close(x.grad, out.detach())  # x is 1: the output is the mask times the scale
    assert residual.grad is None or (residual.grad == 1).all()


@each_native_training
@pytest.mark.parametrize("shape", [(1, 16), (37, 48), (64, 384)])
def test_native_dropout_is_torchs(monkeypatch, shape, dtype):
    generator = torch.Generator().manual_seed(3)
    x, wish = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))

    def made():
        torch.manual_seed(5)
        leaf = x.clone().requires_grad_()
        out = Dropout(0.1).train()(leaf)
        return out.detach(), *torch.autograd.grad(out, leaf, wish)

    assert can_drop(x)
    assert not can_drop(x.double())
    fast = made()
    monkeypatch.setattr("filbert.model.encoder.can_drop", lambda x: False)
    slow = made()
    assert torch.equal(fast[0], slow[0])
    assert torch.equal(fast[1] == 0, slow[1] == 0)
    eps = torch.finfo(dtype).eps  # torch rounds the scale to bf16 on its way back
    torch.testing.assert_close(fast[1], slow[1], rtol=eps, atol=0)
    assert (fast[0] == 0).any()


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    initialise(module, torch.Generator().manual_seed(2))
    return spread(module, by=0.5)


def made_with_gradients(work, module: torch.nn.Module, tensors: list[torch.Tensor], dtype: torch.dtype):
    """What `work(module, *tensors)` returns in `dtype`, and its gradients, those of the weights, too."""
    module, leaves = copy.deepcopy(module).to(dtype), [x.to(dtype).requires_grad_() for x in tensors]
    torch.manual_seed(5)
    out = work(module, *leaves)
    wish = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    gradients = torch.autograd.grad(out, [*leaves, *module.parameters()], wish.to(dtype))
    return [x.detach().double() for x in (out, *gradients)]


def as_near_as_torch(native, theirs, exact, dtype: torch.dtype) -> bool:
    """Whether each of the native results is as near to the exact one as torch's own in `dtype`, or nearer."""
    more, most = {torch.bfloat16: (0.001, 0.01), torch.float32: (1e-6, 2e-6)}[dtype]
    errors = [[(x - y).norm() / y.norm() for x, y in zip(found, exact, strict=True)] for found in (native, theirs)]
    return all(ours < 1.1 * other + more and ours < most for ours, other in zip(*errors, strict=True))


@each_native_training
@pytest.mark.parametrize("tokens", [1, 300])
@pytest.mark.parametrize("large", [1.0, 30.0])  # where GELU is flat, too
def test_native_gelu_with_its_bias_is_torchs(monkeypatch, tokens, large, dtype):
    linear = drawn(Linear(16, 48)).to(dtype).double()
    x_TD = (torch.randn(tokens, 16, generator=torch.Generator().manual_seed(3)) * large).to(dtype)
    exact = made_with_gradients(linear_gelu, linear, [x_TD], torch.float64)
    assert can_activate(x_TD, linear.bias.to(dtype))
    fast = made_with_gradients(linear_gelu, linear, [x_TD], dtype)
    monkeypatch.setattr("filbert.model.encoder.can_activate", lambda x, bias: False)
    assert as_near_as_torch(fast, made_with_gradients(linear_gelu, linear, [x_TD], dtype), exact, dtype)


@each_native_training
@pytest.mark.parametrize("tokens", [1, 300])
@pytest.mark.parametrize("share", [0.0, 0.1])
def test_native_norm_of_the_sum_is_torchs(monkeypatch, tokens, share, dtype):
    """With dropout in it the same bytes are drawn, and the same numbers dropped."""
    parts = torch.nn.ModuleList((torch.nn.LayerNorm(48), Dropout(share), Linear(16, 48)))
    parts = drawn(parts).to(dtype).double().train()
    generator = torch.Generator().manual_seed(3)
    tensors = [torch.randn(tokens, width, generator=generator).to(dtype) for width in (16, 48)]

    def work(module, x, residual):
        return add_norm(*module, x, residual)

    exact = made_with_gradients(work, parts, tensors, torch.float64)
    assert can_add_norm(*tensors, [p.to(dtype) for p in (parts[2].bias, *parts[0].parameters())])
    fast = made_with_gradients(work, parts, tensors, dtype)
    monkeypatch.setattr("filbert.model.encoder.can_add_norm", lambda x, residual, parameters: False)
    slow = made_with_gradients(work, parts, tensors, dtype)
    assert as_near_as_torch(fast, slow, exact, dtype)
    assert not torch.equal(fast[-1], slow[-1]) or tokens == 1


@each_native_training
def test_a_sum_of_other_shapes_or_numbers_is_left_to_torch(dtype):
    x_TD, residual_TD, row_D = (torch.zeros(size, dtype=dtype) for size in ((3, 16), (3, 48), (48,)))
    other = torch.float32 if dtype == torch.bfloat16 else torch.bfloat16  # which has a C++ part, too
    rows = [row_D] * 3
    assert can_add_norm(x_TD, residual_TD, rows)
    assert not can_add_norm(x_TD, residual_TD[:1], rows)
    assert not can_add_norm(x_TD, residual_TD[:, :40], [row_D[:40]] * 3)
    assert not can_add_norm(x_TD, residual_TD.to(other), rows)
    assert not can_add_norm(x_TD.to(other), residual_TD, rows)
    assert not can_add_norm(x_TD, residual_TD, [row_D, row_D.to(other), row_D])
    assert can_activate(x_TD, row_D)
    assert not can_activate(x_TD, row_D.to(other))
    assert not can_add_norm(x_TD, residual_TD, [None, row_D, row_D])
    assert not can_activate(x_TD, None)


def test_under_autocast_torch_does_it():
    """There a layer's result is of another kind than its bias."""
    layer = encoder(hidden=64, intermediate=64).layers[0].eval()
    x_TD = torch.randn(5, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = add_norm(layer.norm, layer.dropout, layer.down, linear_gelu(layer.up, x_TD), x_TD)
        with torch.autocast("cpu", torch.bfloat16):
            found = add_norm(layer.norm, layer.dropout, layer.down, linear_gelu(layer.up, x_TD), x_TD)
    assert (found - exact).norm() < 0.02 * exact.norm()


@each_native_training
def test_native_sums_over_rows_do_not_depend_on_the_number_of_threads(dtype):
    layer, before = encoder(hidden=64, intermediate=64).layers[0].to(dtype), torch.get_num_threads()
    hidden_TD = torch.randn(1000, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert can_activate(hidden_TD, layer.up.bias)
    assert can_add_norm(hidden_TD, hidden_TD, (layer.down.bias, layer.norm.weight, layer.norm.bias))
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            layer.zero_grad()
            out = add_norm(layer.norm, layer.dropout, layer.down, linear_gelu(layer.up, hidden_TD), hidden_TD)
            out.square().sum().backward()
            found.append([p.grad.clone() for p in (layer.up.bias, layer.down.bias, layer.norm.weight, layer.norm.bias)])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, three) for one, three in zip(*found, strict=True))


def test_dropout_masks_differ_by_call_and_return_with_the_seed():
    layer, x = Dropout(0.5).train(), torch.ones(1001)
    torch.manual_seed(4)
    first, second = layer(x), layer(x)
    torch.manual_seed(4)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_dropout_just_below_one():
    """A share the configuration allows must work, or be refused by it."""
    try:
        share = shape(dropout=0.999).dropout
    except ConfigError:
        return
    assert torch.isfinite(Dropout(share).train()(torch.ones(100))).all()


def test_training_mode_reaches_every_dropout():
    ours, batch = encoder(), pack(rows([9, 9]))
    torch.manual_seed(0)
    assert not torch.equal(ours.train()(*tensors_of(batch, "cpu")), ours(*tensors_of(batch, "cpu")))
    ours.eval()
    assert torch.equal(ours(*tensors_of(batch, "cpu")), ours(*tensors_of(batch, "cpu")))
