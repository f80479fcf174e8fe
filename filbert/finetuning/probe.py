"""Linear probe: how accurate a linear classifier is on the mean token vectors of a frozen encoder.

An encoder whose probe is less accurate after adaptation has lost features that fine-tuning would have to learn again
(Kumar et al. 2022). `minilm`, a sentence encoder, loses on medical abstracts and not on contracts, and the accuracy
after fine-tuning follows the probe's; so `fit --adapt` decides by it.

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

FEWEST, MOST = 100, 2_000  # texts
LENGTH = 128  # tokens of each
FOLDS = 5  # of the cross-validation
PENALTY = 0.03  # C of the logistic regression: a few hundred features, a few thousand texts


class Means(nn.Module):
    """An encoder that gives one vector for each text: the mean of its token vectors."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids_T: Tensor, positions_T: Tensor, segments_T: Tensor, spans: Spans) -> Tensor:
        """Return means_ND of packed texts."""
        hidden_TD = self.encoder(ids_T, positions_T, segments_T, spans)
        return torch.stack([hidden_TD[first:last].float().mean(0) for first, last in spans.bounds])


def sample(true_N: IntArray, most: int = MOST) -> IntArray | None:
    """Return the numbers of a random sample of texts, the same for every base; None where there are too few.

    Classes with fewer than five of them are left out.

    >>> sample(np.array([0, 1] * 40)) is None
    True
    >>> len(sample(np.array([0, 1] * 4000 + [2])))
    2000
    """
    sample_N = np.random.default_rng(0).permutation(len(true_N))[:most]
    counts = Counter(true_N[sample_N].tolist())
    kept_N = np.sort([i for i in sample_N.tolist() if counts[int(true_N[i])] >= FOLDS]).astype(np.int32)
    return kept_N if len(kept_N) >= FEWEST and len(set(true_N[kept_N].tolist())) > 1 else None


def probe_accuracy(
    folder: Path, inputs: Sequence[Sequence[str]], true_N: IntArray, device: str = "cpu", precision: str = "auto"
) -> float:
    """Return the accuracy, 0 to 1, of a linear probe on a base model. Raises ModelError where the folder is none.

    >>> probe_accuracy(Path("runs/medical"), [("a text",), ("another",)], true_N)  # doctest: +SKIP
    0.64
    """
    encoder, tokenizer, _ = load_base(folder)
    features = [framed(tokenizer.encode(texts), tokenizer, LENGTH) for texts in inputs]
    means = Means(encoder).to(device, working_dtype(precision, device))
    return cross_validated_accuracy(outputs(means, features, device), true_N)


def cross_validated_accuracy(means_ND: FloatArray, true_N: IntArray) -> float:
    """Return the accuracy, 0 to 1, of logistic regression in five-fold cross-validation.

    >>> true_N = np.tile([0, 1], 100).astype(np.int32)
    >>> cross_validated_accuracy(np.random.default_rng(0).normal(size=(200, 8)) + 9 * true_N[:, None], true_N)
    1.0
    """
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=300))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    with threadpool_limits(1, user_api="blas"):  # more threads are slower on a busy machine
        predicted_N = cross_val_predict(linear, means_ND, true_N, cv=folds)
    return float((predicted_N == true_N).mean())
