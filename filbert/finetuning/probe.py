"""What an encoder knows of a task before any fine-tuning: a linear model on the means of its vectors.

A base that knows less when it was adapted has forgotten what fine-tuning would have to learn again (Kumar et al. 2022).
`minilm`, made to compare sentences, does on medical abstracts and does not on contracts, and what comes of fine-tuning
follows; so `fit --adapt` looks here first.

Shapes: T tokens in a batch, N texts, D hidden width.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn itself requires it
from torch import Tensor, nn

from filbert.bases.load import load_base
from filbert.model.attention import Spans
from filbert.model.device import working_dtype
from filbert.model.encoder import Encoder
from filbert.model.run import outputs
from filbert.records import FloatArray, IntArray
from filbert.tasks.framing import framed

FEWEST, MOST = 100, 2_000  # texts to look at
LENGTH = 128  # tokens of each that are read
PARTS = 5  # each is told by a model of the other four
PENALTY = 0.03  # C of the linear model: vectors are a few hundred numbers, texts a few thousand


class Means(nn.Module):
    """An encoder that gives one vector for each text: the mean of its tokens'."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans) -> Tensor:
        """Return means_ND of packed texts."""
        hidden_TD = self.encoder(ids_T, positions_T, segments_T, spans)
        return torch.stack([hidden_TD[first:last].float().mean(0) for first, last in spans.bounds])


def chosen(true_N: IntArray, most: int = MOST) -> IntArray | None:
    """Return the numbers of the texts to look at, the same ones for every base; None where they are too few to tell.

    Classes with fewer than five of them are left out.

    >>> chosen(np.array([0, 1] * 40)) is None
    True
    >>> len(chosen(np.array([0, 1] * 4000 + [2])))
    2000
    """
    drawn_N = np.random.default_rng(0).permutation(len(true_N))[:most]
    counts = Counter(true_N[drawn_N].tolist())
    kept_N = np.sort([i for i in drawn_N.tolist() if counts[int(true_N[i])] >= PARTS]).astype(np.int32)
    return kept_N if len(kept_N) >= FEWEST and len(set(true_N[kept_N].tolist())) > 1 else None


def knows(
    folder: Path, inputs: Sequence[Sequence[str]], true_N: IntArray, device: str = "cpu", precision: str = "auto"
) -> float:
    """Return the share of texts, 0 to 1, whose class is told by the vectors of a base model; see `share_told`.

    Raises ModelError where the folder is no base model.

    >>> knows(Path("runs/medical"), [("a text",), ("another",)], true_N)  # doctest: +SKIP
    0.64
    """
    encoder, tokenizer, _ = load_base(folder)
    features = [framed(tokenizer.encode(texts), tokenizer, LENGTH) for texts in inputs]
    means = Means(encoder).to(device, working_dtype(precision, device))
    return share_told(outputs(means, features, device), true_N)


def share_told(means_ND: FloatArray, true_N: IntArray) -> float:
    """Return the share of texts, 0 to 1, whose class a linear model of other texts' vectors names.

    >>> true_N = np.tile([0, 1], 100).astype(np.int32)
    >>> share_told(np.random.default_rng(0).normal(size=(200, 8)) + 9 * true_N[:, None], true_N)
    1.0
    """
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=300))
    parts = StratifiedKFold(PARTS, shuffle=True, random_state=0)
    with threadpool_limits(1, user_api="blas"):  # more threads take longer where other work is done
        told_N = cross_val_predict(linear, means_ND, true_N, cv=parts)
    return float((told_N == true_N).mean())
