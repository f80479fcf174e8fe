"""The fast attention is the readable one, and no text sees another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import NATIVE_TRAINING, each_native_training, starts

from filbert.model.attention import (
    GROUP_TOKENS,
    MAX_PADDING,
    Chosen,
    Spans,
    attend,
    attend_first,
    attend_from,
    attend_readable,
    rounded,
)
from filbert.model.native_training import can_attend

HEADS, WIDTH = 2, 8
LENGTHS = {
    "one text": [6],
    "one token": [1],
    "equal": [5, 5, 5, 5],
    "single tokens": [1, 1, 1, 1],
    "mixed": [1, 3, 4, 9, 17, 40],
    "groups with padding": [17, 18, 18, 19, 20],
    "unsorted": [20, 3, 18, 1, 19, 7, 7, 18],
    "longer than a group": [GROUP_TOKENS // 2 + 1, GROUP_TOKENS // 2 + 5],
}
each_lengths = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)


def random_qkv(tokens: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.Tensor:
    return torch.randn(tokens, 3, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def value_and_gradient(way, qkv_T3D: torch.Tensor, spans: Spans) -> tuple[torch.Tensor, torch.Tensor]:
    leaf_T3D = qkv_T3D.clone().requires_grad_()
    context_TD = way(leaf_T3D, spans, HEADS)
    generator = torch.Generator().manual_seed(1)
    wish_TD = torch.randn(context_TD.shape, generator=generator, dtype=torch.float64).to(context_TD)
    (gradient,) = torch.autograd.grad((context_TD * wish_TD).sum(), leaf_T3D)
    return context_TD.detach(), gradient


@each_lengths
def test_grouped_equals_readable(lengths):
    spans, qkv_T3D = Spans(starts(lengths)), random_qkv(sum(lengths))
    fast, gradient = value_and_gradient(attend, qkv_T3D, spans)
    slow, expected = value_and_gradient(attend_readable, qkv_T3D, spans)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


@each_lengths
def test_grouped_in_bf16(lengths):
    spans, qkv_T3D = Spans(starts(lengths)), random_qkv(sum(lengths), torch.bfloat16)
    fast, gradient = value_and_gradient(attend, qkv_T3D, spans)
    slow, expected = value_and_gradient(attend_readable, qkv_T3D.double(), spans)
    assert fast.dtype == gradient.dtype == torch.bfloat16
    assert (fast - slow).abs().max() < 0.04
    assert (gradient - expected).abs().max() < 0.15  # sums of up to 40 rounded products, values up to 6


# -- in C++ -----------------------------------------------------------------------------------------------------------

widths = pytest.mark.parametrize("width", [32, 64, 96])  # of a head
NEAR = {torch.bfloat16: 0.004, torch.float32: 1e-6}  # relative error of a context


def wide_qkv(tokens: int, width: int, dtype: torch.dtype, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(tokens, 3, HEADS * width, generator=generator) * scale).to(dtype)


@each_native_training
@widths
@each_lengths
def test_native_equals_readable(lengths, width, dtype):
    """Against double precision, there and back."""
    spans, qkv_T3D = Spans(starts(lengths)), wide_qkv(sum(lengths), width, dtype)
    assert can_attend(qkv_T3D, HEADS)
    fast, gradient = value_and_gradient(attend, qkv_T3D, spans)
    slow, expected = value_and_gradient(attend_readable, qkv_T3D.double(), spans)
    assert fast.dtype == gradient.dtype == dtype
    assert (fast - slow).norm() < NEAR[dtype] * slow.norm()
    assert (gradient - expected).norm() < 1.5 * NEAR[dtype] * expected.norm()
    for part in range(3):  # queries, keys, values: none is lost in the size of another
        right = expected[:, part].norm()
        assert (gradient[:, part] - expected[:, part]).norm() <= 4 * NEAR[dtype] * right + 1e-5, part


@each_native_training
def test_native_is_called_only_where_it_can(dtype):
    assert not can_attend(wide_qkv(3, 16, dtype), HEADS)
    assert not can_attend(wide_qkv(3, 32, torch.float64), HEADS)
    others = [torch.float64, *{torch.bfloat16, torch.float32} - {dtype}]
    assert not any(can_attend(wide_qkv(3, 32, dtype), HEADS, wide_qkv(3, 32, other)) for other in others)
    assert can_attend(wide_qkv(3, 32, dtype), HEADS, wide_qkv(3, 32, dtype))


@each_native_training
@each_lengths
def test_native_is_the_same_beside_others_and_with_any_number_of_threads(lengths, dtype):
    qkv_T3D, spans = wide_qkv(sum(lengths), 32, dtype), Spans(starts(lengths))
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    whole = value_and_gradient(attend, qkv_T3D, spans)
    wish_TD = torch.randn(whole[0].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    try:
        torch.set_num_threads(1)
        for first, last in spans.bounds:
            leaf_T3D = qkv_T3D[first:last].clone().requires_grad_()
            alone_TD = attend(leaf_T3D, Spans(starts([last - first])), HEADS)
            (gradient,) = torch.autograd.grad(alone_TD, leaf_T3D, wish_TD[first:last])
            assert torch.equal(alone_TD, whole[0][first:last])
            assert torch.equal(gradient, whole[1][first:last])
    finally:
        torch.set_num_threads(threads)


@each_native_training
def test_native_rows_of_no_text_change_nothing(dtype):
    lengths, rows = [5, 9, 17], 40
    qkv_T3D = wide_qkv(rows, 32, dtype)
    context_TD, gradient = value_and_gradient(attend, qkv_T3D, Spans(starts(lengths), rows=rows))
    alone_TD, _ = value_and_gradient(attend, qkv_T3D[:31], Spans(starts(lengths)))
    assert torch.equal(context_TD[:31], alone_TD)
    assert not context_TD[31:].any()
    assert not gradient[31:].any()


@each_native_training
@pytest.mark.parametrize("scale", [1e2, 1e5])  # the second: a score less its log-sum-exp rounds to hundreds
def test_native_with_scores_beyond_exp(dtype, scale):
    spans, qkv_T3D = Spans(starts([3, 40])), wide_qkv(43, 32, dtype, scale)
    context_TD, gradient = value_and_gradient(attend, qkv_T3D, spans)
    assert torch.isfinite(context_TD).all()
    assert torch.isfinite(gradient).all()
    torch.testing.assert_close(context_TD.double(), attend_readable(qkv_T3D.double(), spans, HEADS), rtol=0.01, atol=1)


@each_native_training
def test_native_takes_numbers_that_lie_apart(dtype):
    """Queries, keys and values cut out of something larger, and a gradient that is a transposed view."""
    spans = Spans(starts([4, 7]))
    wide_T4D = torch.randn(11, 4, 64, generator=torch.Generator().manual_seed(0)).to(dtype)
    leaf_T3D = wide_T4D[:, 1:].requires_grad_()
    context_TD = attend(leaf_T3D, spans, HEADS)
    wish_TD = torch.randn(64, 11, generator=torch.Generator().manual_seed(1)).to(dtype).T
    (gradient,) = torch.autograd.grad(context_TD, leaf_T3D, wish_TD)
    plain_T3D = wide_T4D[:, 1:].clone().requires_grad_()
    (expected,) = torch.autograd.grad(attend(plain_T3D, spans, HEADS), plain_T3D, wish_TD.contiguous())
    assert torch.equal(gradient, expected)


# -- its gradient, and what no text may see ---------------------------------------------------------------------------


def test_gradient_is_the_derivative():
    spans, qkv_T3D = Spans(starts([5, 3, 1, 6])), random_qkv(15).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: attend(x, spans, HEADS), (qkv_T3D,))


def first_only(qkv_T3D: torch.Tensor, spans: Spans, heads: int) -> torch.Tensor:
    return attend_first(qkv_T3D[spans.first_B, 0], qkv_T3D[:, 1:], spans, heads)


def qkv_in(dtype: torch.dtype | None, tokens: int, width: int = 32) -> torch.Tensor:
    """Numbers for the C++ part in `dtype`, or for torch where there is none."""
    qkv_T3D = wide_qkv(tokens, width, dtype or torch.float64)
    assert can_attend(qkv_T3D, HEADS) == (dtype is not None)
    return qkv_T3D


torch_or_native = pytest.mark.parametrize("dtype", [pytest.param(None, id="torch"), *NATIVE_TRAINING])


@each_lengths
@torch_or_native
def test_attend_first_is_the_first_rows(lengths, dtype):
    spans, qkv_T3D = Spans(starts(lengths)), qkv_in(dtype, sum(lengths))
    fast, gradient = value_and_gradient(first_only, qkv_T3D, spans)
    slow, expected = value_and_gradient(
        lambda x, s, heads: attend_readable(x, s, heads)[s.first_B], qkv_T3D.double(), spans
    )
    tolerance = NEAR[dtype or torch.float32]  # torch attends in fp32
    assert (fast - slow).norm() <= tolerance * slow.norm()
    assert (gradient - expected).norm() <= 1.5 * tolerance * expected.norm()


@torch_or_native
def test_attend_first_has_the_same_gradient_every_time(dtype):
    """Whatever the threads' timing: a query's gradient is a sum over its text, and its order moves the bits."""
    spans, qkv_T3D = Spans(starts([2_000])), qkv_in(dtype, 2_000, width=128)
    threads, gradients = torch.get_num_threads(), set()
    try:
        for number in (1, 2, 3, 4) * 5:
            torch.set_num_threads(number)
            _, gradient = value_and_gradient(first_only, qkv_T3D, spans)
            gradients.add(gradient.contiguous().view(torch.uint8).numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    assert len(gradients) == 1


def test_attend_first_with_scores_beyond_exp():
    """Scores of ±10,000: without the largest taken off, exp would give inf / inf."""
    spans, qkv_T3D = Spans(starts([3, 4])), random_qkv(7, torch.float32) * 200
    first_BD = first_only(qkv_T3D, spans, HEADS)
    assert torch.isfinite(first_BD).all()
    torch.testing.assert_close(first_BD, attend_readable(qkv_T3D, spans, HEADS)[spans.first_B], rtol=1e-4, atol=1e-3)


def some_rows(spans: Spans, seed: int = 0) -> torch.Tensor:
    """A third of each text's tokens behind its first, in no order."""
    generator = torch.Generator().manual_seed(seed)
    behind = torch.tensor([row for first, last in spans.bounds for row in range(first + 1, last)], dtype=torch.int64)
    return behind[torch.randperm(len(behind), generator=generator)[: len(behind) // 3 + 1]]


@each_lengths
def test_chosen_rows_keep_the_order_of_the_batch(lengths):
    spans = Spans(starts(lengths))
    others_M = some_rows(spans)
    chosen = Chosen.of(spans, others_M)
    count = len(spans) + len(others_M)
    assert chosen.rows_R[:count].tolist() == sorted([*spans.first_B.tolist(), *others_M.tolist()])
    assert len(chosen.rows_R) % 64 == 0
    assert not chosen.rows_R[count:].any()
    assert torch.equal(chosen.rows_R[chosen.first_B], spans.first_B)
    assert torch.equal(chosen.rows_R[chosen.others_M], others_M)
    for (first, last), begin, end in zip(spans.bounds, chosen.starts[:-1], chosen.starts[1:], strict=True):
        assert ((chosen.rows_R[begin:end] >= first) & (chosen.rows_R[begin:end] < last)).all()


def from_chosen(qkv_T3D: torch.Tensor, spans: Spans, chosen: Chosen) -> torch.Tensor:
    return attend_from(qkv_T3D[chosen.rows_R, 0], qkv_T3D[:, 1:], spans, chosen, HEADS)


@each_lengths
@torch_or_native
def test_attend_from_is_the_chosen_rows(lengths, dtype):
    spans = Spans(starts(lengths))
    chosen = Chosen.of(spans, some_rows(spans))
    count = int(chosen.starts[-1])
    qkv_T3D = qkv_in(dtype, sum(lengths))
    fast, gradient = value_and_gradient(lambda x, s, _: from_chosen(x, s, chosen)[:count], qkv_T3D, spans)
    slow, expected = value_and_gradient(
        lambda x, s, heads: attend_readable(x, s, heads)[chosen.rows_R[:count]], qkv_T3D.double(), spans
    )
    tolerance = NEAR[dtype] if dtype else 1e-12
    assert (fast - slow).norm() <= tolerance * slow.norm()
    assert (gradient - expected).norm() <= 1.5 * tolerance * expected.norm()
    assert not from_chosen(qkv_T3D, spans, chosen)[count:].any()


@each_lengths
@torch_or_native
def test_no_chosen_row_sees_another_text(lengths, dtype):
    spans = Spans(starts(lengths))
    chosen, (first, last) = Chosen.of(spans, some_rows(spans)), spans.bounds[len(lengths) // 2]
    qkv_T3D = qkv_in(dtype, sum(lengths))
    changed_T3D = qkv_T3D.clone()
    changed_T3D[first:last] = 3 * changed_T3D[first:last].flip(-1)
    inside_R = (chosen.rows_R >= first) & (chosen.rows_R < last)
    inside_R[chosen.starts[-1] :] = False
    before, after = (from_chosen(x, spans, chosen) for x in (qkv_T3D, changed_T3D))
    assert torch.equal(before[~inside_R], after[~inside_R])
    assert not torch.equal(before[inside_R], after[inside_R])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@each_lengths
def test_no_text_sees_another(lengths, dtype):
    spans, qkv_T3D = Spans(starts(lengths)), random_qkv(sum(lengths), dtype)
    changed_T3D, (first, last) = qkv_T3D.clone(), spans.bounds[len(lengths) // 2]
    changed_T3D[first:last] = random_qkv(last - first, dtype, seed=7) * 3
    others = torch.ones(len(qkv_T3D), dtype=torch.bool)
    others[first:last] = False
    for way in (attend, attend_readable):
        before, after = way(qkv_T3D, spans, HEADS), way(changed_T3D, spans, HEADS)
        assert torch.equal(before[others], after[others])
        assert not torch.equal(before[~others], after[~others])
    before, after = (first_only(x, spans, HEADS) for x in (qkv_T3D, changed_T3D))
    assert torch.equal(before[others[spans.first_B]], after[others[spans.first_B]])


@each_lengths
def test_no_gradient_from_another(lengths):
    spans, qkv_T3D = Spans(starts(lengths)), random_qkv(sum(lengths)).requires_grad_()
    first, last = spans.bounds[0]
    (gradient,) = torch.autograd.grad(attend(qkv_T3D, spans, HEADS)[first:last].square().sum(), qkv_T3D)
    assert not gradient[last:].any()
    assert gradient[first:last].any()


@each_lengths
def test_groups_hold_every_text_once(lengths):
    spans, row = Spans(starts(lengths)), 0
    for group in spans.groups:
        assert group.first == row
        row = group.last
        slots = group.texts * group.longest
        rounded_up = sum(rounded(b - a) for a, b in spans.bounds if group.first <= a < group.last)
        assert group.texts == 1 or (slots <= GROUP_TOKENS and slots <= MAX_PADDING * rounded_up)
    assert row == sum(lengths)
    assert sum(group.texts for group in spans.groups) == len(lengths) == len(spans)


def test_the_lengths_above_meet_every_kind_of_group():
    assert not all(group.pick_GL is None for group in Spans(starts(LENGTHS["groups with padding"])).groups)
    assert [group.pick_GL is None for group in Spans(starts([8, 8])).groups] == [True]
    assert [group.texts for group in Spans(starts(LENGTHS["equal"])).groups] == [4]
    assert [group.texts for group in Spans(starts(LENGTHS["longer than a group"])).groups] == [1, 1]


def test_products_have_few_shapes():
    """Any mix of texts: no more shapes than the library that compiles them keeps, six products each."""
    generator = np.random.default_rng(0)
    shapes = set()
    for _ in range(300):
        lengths = np.sort(np.exp(generator.normal(4, 1.2, 32)).clip(3, 512).astype(int))
        shapes |= {(group.texts, group.longest) for group in Spans(starts(lengths.tolist())).groups}
    assert len(shapes) * 6 < 1024


def test_rows_of_no_text_change_nothing():
    lengths, rows = [5, 9, 17], 40
    plain, longer = Spans(starts(lengths)), Spans(starts(lengths), rows=rows)
    qkv_T3D = random_qkv(rows)
    for way in (attend, attend_readable):
        context_TD, gradient = value_and_gradient(way, qkv_T3D, longer)
        alone_TD, _ = value_and_gradient(way, qkv_T3D[:31], plain)
        assert torch.equal(context_TD[:31], alone_TD)
        assert not context_TD[31:].any()
        assert not gradient[31:].any()


def test_cumulative_is_what_flash_attention_asks_for():
    cumulative, longest = Spans(starts([3, 7, 2])).cumulative
    assert cumulative.tolist() == [0, 3, 10, 12]
    assert cumulative.dtype == torch.int32
    assert longest == 7


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@each_lengths
def test_cuda_equals_readable(lengths, dtype):
    """There and back, from all rows and from chosen ones."""
    spans, qkv_T3D = Spans(starts(lengths), "cuda"), random_qkv(sum(lengths), dtype).repeat(1, 1, 8).cuda()
    chosen = Chosen.of(spans, some_rows(spans).cuda())
    pairs = [
        (attend, attend_readable),
        (lambda x, s, _: from_chosen(x, s, chosen), lambda x, s, heads: attend_readable(x, s, heads)[chosen.rows_R]),
    ]
    for way, readable in pairs:
        fast, gradient = value_and_gradient(way, qkv_T3D, spans)
        slow, expected = value_and_gradient(readable, qkv_T3D.double(), spans)
        assert (fast - slow).norm() < 0.01 * slow.norm()
        assert (gradient - expected).norm() < 0.02 * expected.norm()
