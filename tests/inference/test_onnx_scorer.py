"""onnxruntime scores as torch does, whatever the head reads, without torch and without padding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from models import as_model
from small import LABELS, classifier, marked, rows, save, spread

from filbert.errors import ConfigError
from filbert.inference import scorer as scorer_module
from filbert.inference.engine import load
from filbert.inference.model import open_model
from filbert.inference.onnx_scorer import STEP, TOKENS, GraphScorer, OnnxScorer, session_of
from filbert.inference.scorer import TorchScorer, scored_by, scorer_of
from filbert.model.head import Head
from filbert.model.network import Network
from filbert.model.onnx_graph import bert_graph

pytest.importorskip("onnxruntime")

TEXTS, MARKED = rows([*range(2, 60), 7, 7, 7]), marked([*range(2, 60), 7, 7, 7])
HEADS = [
    Head(3),
    Head(2, pooled=False),
    Head(2, "tokens", pooled=False),
    Head(3, "tokens"),
    Head(8, "mean", pooled=False, last=""),
    Head(3, "mean"),
    Head(1, "marks", pooled=False),
    Head(3, "marks", layers=2),
]


def network(head: Head) -> Network:
    """A network whose outputs are of the size of logits."""
    return spread(Network(classifier().encoder, head, torch.Generator().manual_seed(0))).eval()  # type: ignore[return-value]


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_it_gives_what_torch_gives(head: Head) -> None:
    model, texts = network(head), MARKED if head.rows == "marks" else TEXTS
    ours, theirs = OnnxScorer(as_model(model)).outputs(texts), TorchScorer(model, "cpu", "fp32").outputs(texts)
    for row, mine, yours in zip(texts, ours, theirs, strict=True):
        lines = {"tokens": (len(row),), "marks": (0 if row.marks is None else len(row.marks),)}.get(head.rows, ())
        assert mine.shape == (*lines, head.outputs)
        np.testing.assert_allclose(mine, yours, atol=1e-5 * max(1.0, float(np.abs(yours).max())))


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_padding_changes_nothing(head: Head) -> None:
    """A batch as other people make it: texts of different lengths, some with fewer marks."""
    texts = MARKED if head.rows == "marks" else TEXTS
    scorer = OnnxScorer(as_model(network(head)))
    padded = GraphScorer(head, scorer.run).outputs(texts)
    for one, two in zip(scorer.outputs(texts), padded, strict=True):
        np.testing.assert_allclose(two, one, atol=1e-5 * max(1.0, float(np.abs(one).max())))


@pytest.mark.parametrize("head", HEADS, ids=str)
def test_in_int8_it_is_nearly_the_same(head: Head) -> None:
    model, texts = as_model(network(head)), MARKED if head.rows == "marks" else TEXTS
    int8 = session_of(bert_graph(model.config, model.weights, head, model.arrays, int8=True))
    scorer = GraphScorer(head, lambda feed: int8.run(None, feed)[0])
    one, two = (np.concatenate([row.ravel() for row in each.outputs(texts)]) for each in (OnnxScorer(model), scorer))
    assert 0 < np.abs(one - two).mean() < 0.1 * one.std()


def test_in_int8_a_text_has_the_same_bits_in_any_company() -> None:
    model = as_model(network(HEADS[0]))
    int8 = session_of(bert_graph(model.config, model.weights, model.head, model.arrays, int8=True))
    scorer = GraphScorer(model.head, lambda feed: int8.run(None, feed)[0], STEP)
    whole = np.asarray(scorer.outputs(TEXTS))
    for first, last in ((0, 1), (5, 6), (3, 40), (58, 61)):
        assert np.array_equal(np.asarray(scorer.outputs(TEXTS[first:last])), whole[first:last])


def test_a_text_has_the_same_bits_in_any_company() -> None:
    scorer = OnnxScorer(as_model(network(HEADS[0])))
    whole = np.asarray(scorer.outputs(TEXTS))
    for first, last in ((0, 1), (5, 6), (3, 40), (58, 61)):
        assert np.array_equal(np.asarray(scorer.outputs(TEXTS[first:last])), whole[first:last])


def test_a_batch_is_bounded() -> None:
    scorer, sizes = OnnxScorer(as_model(network(HEADS[0]))), list[int]()
    inner = scorer.run
    scorer.run = lambda feed: (sizes.append(int(feed["attention_mask"].sum())), inner(feed))[1]
    scorer.outputs(TEXTS * 4)
    assert sum(sizes) == 4 * sum(map(len, TEXTS))
    assert len(sizes) > 1
    assert max(sizes) <= TOKENS


def test_it_is_told_how_many_texts_are_ready() -> None:
    told: list[int] = []
    OnnxScorer(as_model(network(HEADS[0]))).outputs(TEXTS, told.append)
    assert told == sorted(told)
    assert told[-1] == len(TEXTS)


def test_nothing_to_score_gives_nothing() -> None:
    assert np.asarray(OnnxScorer(as_model(network(HEADS[0]))).outputs([])).shape == (0, 3)


def test_with_torch_it_scores_fp32_and_torch_what_is_faster_there(tmp_path: Path, monkeypatch) -> None:
    model = open_model(save(tmp_path / "model", classifier()))
    assert isinstance(scorer_of(model, "cpu", "fp32"), OnnxScorer)
    assert isinstance(scorer_of(model, "cpu", "auto"), TorchScorer)
    assert scored_by(model.config, "cpu", "fp32").startswith("onnxruntime ")
    assert scored_by(model.config, "cpu", "bf16").startswith("torch ")
    monkeypatch.setattr(scorer_module, "installed", lambda package: package == "torch")
    assert isinstance(scorer_of(model, "cpu", "fp32"), TorchScorer)


def test_without_torch_it_scores_and_says_what_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = open_model(save(tmp_path / "model", classifier()))
    monkeypatch.setattr(scorer_module, "installed", lambda package: package != "torch")
    assert isinstance(scorer_of(model, "cpu", "fp32"), OnnxScorer)
    assert isinstance(scorer_of(model, "cpu", "auto"), OnnxScorer)
    with pytest.raises(ConfigError, match="bf16 on cpu needs torch"):
        scorer_of(model, "cpu", "bf16")
    monkeypatch.setattr(scorer_module, "installed", lambda package: False)
    with pytest.raises(ConfigError, match="needs onnxruntime"):
        scorer_of(model, "cpu", "fp32")


def test_an_engine_answers_without_loading_torch(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", classifier())
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from filbert.inference import scorer; scorer.installed = lambda package: package != 'torch'\n"
        "from filbert.inference.engine import load\n"
        f"print(load({str(folder)!r}, device='cpu').predict(['good film'])[0].label)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (wanted,) = load(folder, device="cpu").predict(["good film"])
    assert ran.stdout.strip() == wanted.label in LABELS  # type: ignore[attr-defined]
