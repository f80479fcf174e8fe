"""int8: rounding is what it says, C++ agrees with the twin, and no text feels another."""

from __future__ import annotations

import copy
import itertools
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from small import encoder, needs_native
from torch import Tensor

from filbert.errors import ConfigError, ModelError
from filbert.model import native_encoder, quantized
from filbert.model.attention import Spans
from filbert.model.native_encoder import NativeEncoder, unsupported
from filbert.model.packing import pack
from filbert.model.quantized import encode_readable, first_queries, linear_readable, rounded_tokens, rounded_weight
from filbert.model.run import tensors_of
from filbert.records import Features

WIDE = {"hidden": 64, "intermediate": 128, "max_positions": 200}  # heads of 32
LENGTHS = [2, 3, 15, 16, 17, 31, 33, 47, 64, 65, 96, 130, 199]  # around the edges of tiles

MANY = [2 + n * 8 % 63 for n in range(151)]  # short ones, which go through the layers in bundles of six …
TINY = [2 + n % 5 for n in range(400)]  # … and of 42


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def batch(lengths: list[int], seed: int = 0):
    draw = np.random.default_rng(seed)
    made = [Features(draw.integers(5, 11, n).astype(np.int32), (np.arange(n) > 4).astype(np.int32)) for n in lengths]
    return tensors_of(pack(made), "cpu")


def alone(tensors, text: int):
    """The same text without its batch-mates."""
    *rows, spans = tensors
    first, last = spans.bounds[text]
    return *(x[first:last] for x in rows), Spans(np.array([0, last - first]))


def wide(seed: int = 0, **changes):
    return encoder(seed, **{**WIDE, **changes})


def coded(model, precision: str = "int8", threads: int | None = None):
    """The same encoder in C++, taking and giving what the one in torch does."""
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    made = NativeEncoder(model.config, weights, precision, threads)

    def run(ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans, *, first_only: bool = False):
        packed = (x.numpy() for x in (ids_T, positions_T, segments_T))
        return torch.from_numpy(made(*packed, np.asarray(spans.starts), first_only=first_only))

    return run


# -- the definition ---------------------------------------------------------------------------------------------------


def test_numbers_are_rounded_to_half_a_step_of_their_rows_own_scale():
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 50)[:, None]
    q, scale, low = rounded_tokens(x)
    assert q.amin(-1).tolist() == [0.0] * 50
    assert q.amax(-1).tolist() == [255.0] * 50
    assert torch.equal(q, q.round())
    assert ((q * scale + low - x).abs() <= scale * 0.501).all()
    q_NK, scale_N = rounded_weight(x)
    assert q_NK.abs().amax(-1).tolist() == [127.0] * 50
    assert ((q_NK * scale_N[:, None] - x).abs() <= scale_N[:, None] * 0.501).all()
    assert rounded_tokens(torch.full((1, 4), 3.0))[0].tolist() == [[0, 0, 0, 0]]
    assert rounded_weight(torch.zeros(1, 4))[0].tolist() == [[0, 0, 0, 0]]


def test_a_product_is_near_the_exact_one():
    draw = torch.Generator().manual_seed(1)
    x, weight_NK, bias_N = (torch.randn(*shape, generator=draw) for shape in ((20, 128), (40, 128), (40,)))
    exact = torch.nn.functional.linear(x, weight_NK, bias_N)
    error = linear_readable(x, weight_NK, bias_N) - exact
    assert 0 < error.abs().mean() < 0.01 * exact.abs().mean()


def test_a_number_that_stands_out_does_not_set_the_scale_of_all(monkeypatch):
    draw = torch.Generator().manual_seed(2)
    x, weight_NK, bias_N = (torch.randn(*shape, generator=draw) for shape in ((20, 128), (40, 128), (40,)))
    x[:, 5], weight_NK[:, 70] = 40, 40
    exact = torch.nn.functional.linear(x, weight_NK, bias_N)
    error = (linear_readable(x, weight_NK, bias_N) - exact).abs().mean()
    monkeypatch.setattr(quantized, "rotated", lambda x: 8 * x)
    assert error < 0.5 * (linear_readable(x, weight_NK, bias_N) - exact).abs().mean()


def test_the_twin_is_near_the_encoder_in_fp32():
    small, tensors = wide(), batch(LENGTHS)
    exact, found = small(*tensors), encode_readable(small, *tensors)
    assert found.shape == exact.shape
    assert 0 < (found - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_sums_of_the_first_layers_summands_are_its_products():
    small, (ids_T, positions_T, segments_T, _) = wide(), batch(LENGTHS)
    embeddings, qkv = small.embeddings, small.layers[0].qkv
    exact = qkv(embeddings(ids_T, positions_T, segments_T))
    found = first_queries(small, ids_T, positions_T, segments_T).float()
    assert 0 < (found - exact).abs().max() < 0.02 * exact.abs().max()


def test_one_scale_for_a_batch_would_let_texts_feel_each_other(monkeypatch):
    def whole_batch(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scale = (x.max() - x.min()) / 255
        return ((x - x.min()) / scale).round(), scale, x.min()

    small, tensors = wide(), batch(LENGTHS)
    together = encode_readable(small, *tensors)[: LENGTHS[0]]
    torch.testing.assert_close(encode_readable(small, *alone(tensors, 0)), together, rtol=0, atol=1e-5)
    monkeypatch.setattr(quantized, "rounded_tokens", whole_batch)
    together = encode_readable(small, *tensors)[: LENGTHS[0]]
    assert (encode_readable(small, *alone(tensors, 0)) - together).abs().max() > 0.01


# -- C++ --------------------------------------------------------------------------------------------------------------


def polynomial(x: Tensor, *coefficients: float) -> Tensor:
    """The first coefficient belongs to the highest power."""
    y = torch.zeros_like(x)
    for coefficient in coefficients:
        y = y * x + coefficient
    return y


def rough_weights(scores_HLL: Tensor, largest: int) -> Tensor:
    """The weights with 2^x as simd.h has it."""
    x = (scores_HLL - scores_HLL.amax(-1, keepdim=True)) * np.log2(np.e) + np.log2(largest)
    y = polynomial(x - x.round(), 5.5171494e-2, 2.4261094e-1, 6.9326099e-1, 9.9992808e-1) * 2 ** x.round()
    return y / largest


def rough_gelu(x: Tensor) -> Tensor:
    """GELU as encoder.cpp has it."""
    inside = x.clamp(-3.8, 3.8)
    coefficients = (
        8.57088150e-3,
        -2.53627474e-2,
        4.14790136e-2,
        -6.72484692e-2,
        1.10268602e-1,
        -1.7407795e-1,
        0.36950562,
    )
    return x / 2 * (1 + inside * polynomial(2 * (inside / 3.8) ** 2 - 1, *coefficients))


def test_what_is_rounded_next_is_near_enough():
    x = torch.linspace(-20, 20, 10001)
    assert (rough_gelu(x) - torch.nn.functional.gelu(x)).abs().max() < 1e-3
    exact = (x - 20).exp()
    assert ((rough_weights(x, 255) - exact) / exact).abs().max() < 1e-4


@needs_native
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("precision", ["int8", "bf16"])
@pytest.mark.parametrize("first_only", [False, True])
def test_one_layer_is_the_twin_but_for_a_few_roundings(heads, precision, first_only, monkeypatch):
    largest = {"int8": 255, "bf16": 1}[precision]
    monkeypatch.setattr(quantized, "_weights", lambda scores_HLL: rough_weights(scores_HLL, largest))
    monkeypatch.setattr(quantized.F, "gelu", rough_gelu)
    small, tensors = wide(layers=1, heads=heads), batch(LENGTHS)
    found = coded(small, precision, 2)(*tensors, first_only=first_only)
    error = (found - encode_readable(small, *tensors, precision=precision, first_only=first_only)).abs()
    # a sum in another order moves a number by 1e-7, which now and then tips a rounding, by a 127th of the largest
    assert error.median() < 1e-5
    assert error.mean() < 1e-3
    assert error.max() < 0.1


@needs_native
def test_the_first_layer_keeps_thousands_of_rows_and_starts_anew_when_they_are_too_many():
    many = wide(layers=1, max_positions=2500, vocab_size=40_000)
    run, draw = coded(many, "bf16", 2), np.random.default_rng(0)
    for _ in range(20):  # 50,000 tokens of 28,500, and 32,768 are kept
        ids_T, positions_T, segments_T, spans = batch([2500])
        ids_T = torch.from_numpy(draw.integers(5, 40_000, len(ids_T)).astype(np.int32))
        found = run(ids_T, positions_T, segments_T, spans)
        wanted = encode_readable(many, ids_T, positions_T, segments_T, spans, precision="bf16")
        assert (found - wanted).abs().mean() < 0.01 * wanted.abs().mean()


@needs_native
@pytest.mark.parametrize("size", [{}, {"layers": 3}, {"hidden": 128, "heads": 2, "intermediate": 512}])
def test_a_deep_encoder_is_as_near_to_fp32_as_the_twin(size):
    small, tensors = wide(**size), batch(LENGTHS)
    wanted, errors = small(*tensors), []
    for precision in ("int8", "bf16"):
        twin, found = (
            encode_readable(small, *tensors, precision=precision),
            coded(small, precision, 2)(*tensors),
        )
        errors.append((found - wanted).abs().mean())
        assert errors[-1] < 1.2 * (twin - wanted).abs().mean()
    assert errors[1] < 0.5 * errors[0]


@needs_native
@pytest.mark.parametrize("size", [{}, {"layers": 3}, {"hidden": 128, "heads": 2, "intermediate": 512}, {"heads": 1}])
@pytest.mark.parametrize("first_only", [False, True])
def test_in_fp32_it_is_the_encoder_of_torch(size, first_only):
    small, tensors = wide(**size), batch(LENGTHS)
    theirs, ours = (run(*tensors, first_only=first_only) for run in (small, coded(small, "fp32")))
    exact = copy.deepcopy(small).double()(*tensors, first_only=first_only)
    assert exact.std() > 0.3
    assert (ours - exact).abs().mean() <= 2 * (theirs - exact).abs().mean()
    assert (ours - exact).abs().max() <= 1e-4


@needs_native
@pytest.mark.parametrize("lengths", [LENGTHS, MANY, TINY], ids=["by layers", "in sixes", "in many"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("first_only", [False, True])
@pytest.mark.parametrize("precision", ["int8", "bf16", "fp32"])
def test_a_text_has_the_same_bits_in_any_batch_and_on_any_number_of_threads(lengths, layers, first_only, precision):
    small, tensors = wide(layers=layers), batch(lengths)
    one, two = coded(small, precision, 1), coded(small, precision, 2)
    whole = two(*tensors, first_only=first_only)
    assert torch.equal(one(*tensors, first_only=first_only), whole)
    for text, (first, last) in enumerate(tensors[3].bounds):
        rows = slice(text, text + 1) if first_only else slice(first, last)
        assert torch.equal(two(*alone(tensors, text), first_only=first_only), whole[rows])


@needs_native
@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_what_the_first_layer_keeps_of_one_batch_serves_the_next(precision):
    small, tensors = wide(layers=3), batch(LENGTHS)
    wanted, kept = coded(small, precision)(*tensors), coded(small, precision)
    for text, (first, last) in enumerate(tensors[3].bounds):
        assert torch.equal(kept(*alone(tensors, text)), wanted[first:last])
    assert torch.equal(kept(*tensors), wanted)


@needs_native
@pytest.mark.parametrize("precision", ["int8", "bf16", "fp32"])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_first_tokens_alone_are_as_near_to_the_truth_as_among_all(precision, layers):
    small, tensors = wide(layers=layers), batch(LENGTHS)
    run, exact = coded(small, precision), copy.deepcopy(small).double()(*tensors, first_only=True)
    alone, among = run(*tensors, first_only=True), run(*tensors)[tensors[3].first_B]
    assert (alone - among).abs().max() > 0, "one query is answered in another way"
    assert (alone - exact).abs().mean() < 1.05 * (among - exact).abs().mean()


@needs_native
def test_encoders_come_and_go():
    tensors = batch([5, 9])
    kept = coded(wide(seed=1), threads=2)
    before = kept(*tensors)
    for seed in range(20):
        other = coded(wide(seed=seed), threads=1 + seed % 3)
        assert torch.equal(other(*tensors), before) == (seed == 1)
        del other
    assert torch.equal(kept(*tensors), before)


@needs_native
def test_a_token_of_zeros_is_no_division_by_zero():
    small = wide()
    for p in itertools.chain(small.embeddings.parameters(), small.layers[0].parameters()):
        p.zero_()
    assert torch.isfinite(coded(small)(*batch([4, 7]))).all()


@needs_native
def test_threads_take_turns():
    run = coded(wide(), threads=2)
    batches = [batch([3 + n, 40 - n], seed=n) for n in range(8)]
    wanted = [run(*each) for each in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: torch.equal(run(*batches[n % 8]), wanted[n % 8]), range(200)))
    assert all(found)


@needs_native
def test_a_forked_process_goes_on_without_the_threads():
    code = """
import os, torch, sys
sys.path.insert(0, "tests")
from model.test_quantized import LENGTHS, batch, coded, wide
run, tensors = coded(wide(), threads=3), batch(LENGTHS)
with torch.inference_mode():
    wanted = run(*tensors)
    child = os.fork()
    same = torch.equal(run(*tensors), wanted)
del run
if child == 0:
    os._exit(0 if same else 1)
assert same and os.waitpid(child, 0)[1] == 0
"""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300, cwd=root)


@needs_native
def test_what_torch_would_refuse_is_refused():
    run = coded(wide())
    ids_T, positions_T, segments_T, spans = batch([4, 9])
    for wrong in ((ids_T + 6, positions_T, segments_T), (ids_T, positions_T + 192, segments_T), (ids_T - 20,) * 3):
        with pytest.raises(IndexError, match="outside its table"):
            run(*wrong, spans)
    with pytest.raises(ValueError, match="no tokens"):
        run(ids_T, positions_T, segments_T, Spans(np.array([0, 4, 4, 13])), first_only=True)
    nothing = torch.empty(0, dtype=torch.int32)
    for first_only in (False, True):
        assert run(nothing, nothing, nothing, Spans(np.array([0])), first_only=first_only).shape == (0, 64)


@needs_native
@pytest.mark.parametrize("part", ["layers.1.qkv.weight", "layers.0.up.bias", "embeddings.token.weight"])
def test_weights_that_are_no_numbers_are_refused(part):
    small = wide()
    small.get_parameter(part).view(-1)[3] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        coded(small)


def test_the_part_is_there_where_it_can_be():
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "avx512_bf16" not in flags or not shutil.which("g++"):
        pytest.skip("no compiler, or a processor without AVX-512 bf16")
    assert native_encoder.library() is not None


@needs_native
@pytest.mark.parametrize("size", [{"hidden": 72}, {"heads": 4}, {"intermediate": 100}])
def test_widths_that_do_not_fit_are_refused(size):
    with pytest.raises(ConfigError, match=r"multiples of 64 wide .* — use --precision fp32"):
        coded(wide(**size))


def test_without_the_library_it_says_so(monkeypatch):
    monkeypatch.setattr(native_encoder, "PART", "_not_built")
    with pytest.raises(ConfigError, match="was not built"):
        coded(wide())
    monkeypatch.setattr(native_encoder, "PART", "errors")  # there is one …
    monkeypatch.setattr(native_encoder, "library", lambda: None)  # … for another processor
    assert "AVX-512" in (unsupported(wide().config) or "")
