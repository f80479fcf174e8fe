"""Which texts are of none of the classes that a model knows, by how far their vectors lie from those of each class.

The Mahalanobis distance (Lee et al. 2018; for intents Podolskiy et al. 2021): each class is a Gaussian around the mean
of its training texts, all with one covariance, which is shrunk as the texts are few for its size (Ledoit & Wolf 2004).
A text is far where it is far from the nearest class. From which distance on it is of no known class is learned from
validation texts: a given share of them may be farther.

No torch here. Shapes: N texts, C classes, D width of a vector, K directions (at most D), L levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from filbert.records import FloatArray, IntArray

Array = npt.NDArray[np.float32]
LEVELS = 1_000  # quantiles of the distances that are kept
FLAT = 1e-6  # times the largest variance: a direction with less holds rounding only


@dataclass(frozen=True)
class Detector:
    """Where the classes lie, and how far from them the validation texts were."""

    directions_KD: Array
    """Vectors times these have the covariance 1."""
    means_CK: Array
    """Of each class, in these directions."""
    levels_L: FloatArray
    """Distances of the validation texts, or quantiles of them, ascending."""

    def distances(self, vectors_NK: npt.ArrayLike) -> FloatArray:
        """Return distance_N to the nearest class, of vectors in these directions."""
        found_NK = np.asarray(vectors_NK, dtype=np.float64)
        means_CK = self.means_CK.astype(np.float64)
        squares_NC = (found_NK**2).sum(1)[:, None] - 2 * found_NK @ means_CK.T + (means_CK**2).sum(1)
        return np.asarray(np.sqrt(np.maximum(squares_NC, 0).min(axis=1, initial=np.inf)))

    def threshold(self, rate: float) -> float:
        """Return the least distance that at most a share `rate` of texts of known classes exceeds; 0: infinity.

        Of n validation texts the (n + 1) · (1 - rate)-th distance, so that the share holds on average over new texts
        (Vovk et al. 2005).

        >>> Detector(np.eye(2), np.zeros((1, 2)), np.arange(1.0, 100)).threshold(0.05)
        95.0
        """
        count = len(self.levels_L)
        place = int(np.ceil((count + 1) * (1 - rate))) - 1
        return float(self.levels_L[place]) if rate > 0 and place < count else float("inf")


def fit_detector(vectors_ND: npt.ArrayLike, class_N: IntArray, held_out_ND: npt.ArrayLike) -> Detector:
    """Return a detector of the training texts' vectors and classes, its levels of held-out ones.

    >>> vectors_ND = np.random.default_rng(0).normal(size=(200, 3)) + 9 * np.eye(3)[np.arange(200) % 2]
    >>> found = fit_detector(vectors_ND[:100], np.arange(100) % 2, vectors_ND[100:])
    >>> far = [[0, 0, 9]] @ found.directions_KD.T
    >>> bool(found.distances(far)[0] > found.threshold(0.05))
    True
    """
    from sklearn.covariance import ledoit_wolf

    known_ND = np.asarray(vectors_ND, dtype=np.float64)
    numbers, own_N = np.unique(class_N, return_inverse=True)
    means_CD = np.stack([known_ND[own_N == c].mean(axis=0) for c in range(len(numbers))])
    covariance_DD, _ = ledoit_wolf(known_ND - means_CD[own_N], assume_centered=True)
    variance_D, axes_DD = np.linalg.eigh(covariance_DD)
    kept_D = variance_D > FLAT * variance_D[-1]
    directions_KD = (axes_DD[:, kept_D] / np.sqrt(variance_D[kept_D])).T
    found = Detector(directions_KD.astype(np.float32), (means_CD @ directions_KD.T).astype(np.float32), np.empty(0))
    away_N = np.sort(found.distances(np.asarray(held_out_ND, dtype=np.float64) @ directions_KD.T))
    if len(away_N) > LEVELS:
        away_N = np.quantile(away_N, (np.arange(LEVELS) + 0.5) / LEVELS, method="higher")
    return Detector(found.directions_KD, found.means_CK, away_N)
