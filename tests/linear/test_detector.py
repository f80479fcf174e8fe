"""How far a text lies from the known classes, and from where on it is of none."""

from __future__ import annotations

import numpy as np
import pytest

from filbert.linear.detector import LEVELS, Detector, fit_detector


def clouds(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Three classes in eight directions, of which the first is stretched ten times."""
    random = np.random.default_rng(seed)
    class_N = random.integers(0, 3, count)
    centres_CD = 4 * np.eye(8)[1:4]
    return centres_CD[class_N] + random.normal(size=(count, 8)) * [10, *[1] * 7], class_N


def test_distances_are_mahalanobis_of_the_nearest_class() -> None:
    vectors_ND, class_N = clouds(3_000, 0)
    found = fit_detector(vectors_ND, class_N, clouds(500, 1)[0])
    asked_ND = clouds(20, 2)[0]
    means_CD = np.stack([vectors_ND[class_N == c].mean(axis=0) for c in range(3)])
    inverse_DD = np.linalg.inv(np.cov((vectors_ND - means_CD[class_N]).T))
    away_NCD = asked_ND[:, None] - means_CD
    wanted_N = np.sqrt(np.einsum("ncd,de,nce->nc", away_NCD, inverse_DD, away_NCD).min(axis=1))
    assert found.distances(asked_ND @ found.directions_KD.T) == pytest.approx(wanted_N, rel=0.05)


def test_the_share_that_is_asked_for_is_told_unknown() -> None:
    vectors_ND, class_N = clouds(3_000, 0)
    found = fit_detector(vectors_ND, class_N, clouds(2_000, 1)[0])
    assert len(found.levels_L) == LEVELS
    away_N = found.distances(clouds(5_000, 2)[0] @ found.directions_KD.T)
    for rate in (0.02, 0.05, 0.2):
        assert (away_N > found.threshold(rate)).mean() == pytest.approx(rate, rel=0.3)
    stretched, between = np.array([[30.0, 4, 0, 0, 0, 0, 0, 0], [0.0, 0, 0, 0, 0, 0, 0, 8]])
    near, far = found.distances(np.stack((stretched, between)) @ found.directions_KD.T)
    assert near < found.threshold(0.02) < far  # though the first is the farther one in a straight line


def test_too_few_texts_show_no_small_share() -> None:
    found = Detector(np.eye(2, dtype=np.float32), np.zeros((1, 2), np.float32), np.arange(1.0, 20))
    assert found.threshold(0.05) == 19
    assert found.threshold(0.04) == found.threshold(0) == np.inf


def test_vectors_that_fill_no_space_are_no_error() -> None:
    vectors_ND = np.repeat(np.eye(4)[:2], 10, axis=0) * np.linspace(1, 2, 20)[:, None]
    found = fit_detector(vectors_ND, np.arange(20) // 10, vectors_ND)
    assert np.isfinite(found.distances(vectors_ND @ found.directions_KD.T)).all()
