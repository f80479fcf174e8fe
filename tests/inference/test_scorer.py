"""Torch and C++ score alike, every head; the same text has the same bits in any company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import as_model
from small import classifier, marked, needs_native, rows, save, spread

from filbert.errors import ConfigError
from filbert.inference import scorer as scorer_module
from filbert.inference.model import open_model
from filbert.inference.onnx_scorer import OnnxScorer
from filbert.inference.scorer import NativeScorer, TorchScorer, scorer_of
from filbert.model.head import Head
from filbert.model.network import Network
from filbert.model.run import outputs

TEXTS, MARKED = rows([*range(2, 60)]), marked([*range(2, 60)])


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A model whose widths suit the C++ part."""
    return save(tmp_path / "model", classifier(hidden=64, intermediate=128))


class Cramped:
    """Memory for 60 tokens at once; `met` are the tokens of each try."""

    def __init__(self, run, tokens, error):
        self.run, self.tokens, self.error, self.met = run, tokens, error, []

    def __call__(self, *given):
        self.met.append(self.tokens(given))
        if self.met[-1] > 60:
            raise self.error
        return self.run(*given)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
@pytest.mark.parametrize("kind", ["torch", "onnxruntime", pytest.param("C++", marks=needs_native)])
def test_T20_out_of_memory_in_scoring_makes_smaller_batches(monkeypatch, kind, error):
    model = classifier(hidden=64, intermediate=128).eval()
    made = {"torch": lambda: TorchScorer(model, "cpu", "fp32"), "onnxruntime": lambda: OnnxScorer(as_model(model))}
    scorer = made.get(kind, lambda: NativeScorer(as_model(model), "fp32"))()
    wanted = np.asarray(scorer.outputs(TEXTS))
    ids = {"torch": lambda given: int(given[3].tokens), "C++": lambda given: len(given[0].ids_T)}
    tokens = ids.get(kind, lambda given: given[0]["attention_mask"].sum())
    name, owner = {"torch": ("forward", scorer), "onnxruntime": ("run", scorer)}.get(kind, ("_rows", scorer))
    owner = owner.model if kind == "torch" else owner
    cramped = Cramped(getattr(owner, name), tokens, error)
    monkeypatch.setattr(owner, name, cramped)
    done: list[int] = []
    found = np.asarray(scorer.outputs(TEXTS, done.append))
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert max(cramped.met) > 60 or kind == "onnxruntime"
    assert done[-1] == len(TEXTS)
    cramped.error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    if max(cramped.met) > 60:
        with pytest.raises(RuntimeError, match="mat1"):
            scorer.outputs(TEXTS)


def test_T20_a_single_text_that_does_not_fit_is_an_error(monkeypatch):
    scorer = TorchScorer(classifier().eval(), "cpu", "fp32")
    monkeypatch.setattr(scorer.model, "forward", Cramped(scorer.model.forward, lambda given: 99, MemoryError()))
    with pytest.raises(MemoryError):
        scorer.outputs(TEXTS[:3])


@needs_native
@pytest.mark.parametrize("classes", [2, 5, 150])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_in_cpp_it_is_the_model_and_a_text_has_the_same_bits_in_any_company(classes, precision):
    model = classifier(classes=classes, hidden=64, intermediate=128).eval()
    ours = NativeScorer(as_model(model), precision)
    wanted, whole = outputs(model, TEXTS, "cpu"), np.asarray(ours.outputs(TEXTS))
    assert whole.shape == (58, classes)
    error = np.abs(whole - wanted)
    assert error.max() < 1e-4 if precision == "fp32" else error.mean() < 0.1 * wanted.std()
    for first, last in ((0, 1), (3, 4), (31, 33), (40, 58)):
        assert np.array_equal(ours.outputs(TEXTS[first:last]), whole[first:last])


HEADS = [
    Head(2, pooled=False),
    Head(2, "tokens", pooled=False),
    Head(3, "tokens"),
    Head(64, "mean", pooled=False, last=""),
    Head(1, "marks", pooled=False, layers=1),
]


@needs_native
@pytest.mark.parametrize("head", HEADS, ids=["first, no pooler", "tokens", "tokens, pooled", "mean", "marks"])
def test_in_cpp_every_head_is_torchs(head):
    encoder = classifier(hidden=64, intermediate=128).encoder
    network: Network = spread(Network(encoder, head, torch.Generator().manual_seed(0))).eval()  # type: ignore[assignment]
    texts = MARKED if head.rows == "marks" else TEXTS
    ours, theirs = (
        NativeScorer(as_model(network), "fp32").outputs(texts),
        TorchScorer(network, "cpu", "fp32").outputs(texts),
    )
    for row, mine, yours in zip(texts, ours, theirs, strict=True):
        rows_read = len(row) if row.marks is None else len(row.marks)
        assert mine.shape == ((head.outputs,) if head.one_row else (rows_read, head.outputs))
        np.testing.assert_allclose(mine, yours, atol=1e-4)


@needs_native
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_in_cpp_marks_have_the_same_bits_in_any_company(precision):
    encoder = classifier(hidden=64, intermediate=128).encoder
    network = spread(Network(encoder, HEADS[-1], torch.Generator().manual_seed(0))).eval()
    ours = NativeScorer(as_model(network), precision)
    whole = ours.outputs(MARKED)
    for first, last in ((0, 1), (3, 5), (31, 33), (40, 58)):
        for alone, among in zip(ours.outputs(MARKED[first:last]), whole[first:last], strict=True):
            assert np.array_equal(alone, among)


@needs_native
def test_in_cpp_fp32_gives_torchs_outputs(wide, monkeypatch):
    model = open_model(wide)
    ours = scorer_of(model, "cpu", "fp32")
    assert isinstance(ours, NativeScorer)
    monkeypatch.setattr(scorer_module, "unsupported", lambda config: "not today")
    monkeypatch.setattr(scorer_module, "installed", lambda package: package == "torch")
    theirs = scorer_of(model, "cpu", "fp32")
    assert isinstance(theirs, TorchScorer)
    np.testing.assert_allclose(ours.outputs(TEXTS), theirs.outputs(TEXTS), atol=1e-4)


@needs_native
def test_auto_is_bf16_in_cpp(wide):
    model = open_model(wide)
    auto, bf16 = (scorer_of(model, "cpu", precision).outputs(TEXTS) for precision in ("auto", "bf16"))
    assert np.array_equal(auto, bf16)


def test_int8_is_for_the_cpu(wide):
    with pytest.raises(ConfigError, match="int8 is for the CPU, and the device is cuda"):
        scorer_of(open_model(wide), "cuda", "int8")


@pytest.mark.parametrize("kind", [pytest.param("cpp", marks=needs_native), "torch"])
def test_it_is_told_how_many_texts_are_ready(wide, kind):
    model, told = open_model(wide), list[int]()
    network = classifier(hidden=64, intermediate=128)
    scorer = NativeScorer(model, "fp32") if kind == "cpp" else TorchScorer(network, "cpu", "fp32")
    many = TEXTS * 6  # 10,620 tokens: two batches
    scorer.outputs(many, told.append)
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == len(many)


def test_without_a_precision_the_network_is_left_as_it_is():
    network = classifier().train()
    network.encoder.bfloat16()
    TorchScorer(network, "cpu", None)
    assert network.training
    assert network.encoder.embeddings.token.weight.dtype == torch.bfloat16
