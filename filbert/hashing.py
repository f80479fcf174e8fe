"""SplitMix64, a hash of whole numbers (Steele et al. 2014): the same on every machine, and without a state."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GOLDEN = np.uint64(0x9E3779B97F4A7C15)

UInt64 = npt.NDArray[np.uint64]


def mix64(x_N: UInt64) -> UInt64:
    """Spread the bits of each number over all 64: SplitMix64's last step.

    >>> mix64(np.array([0, 1], np.uint64)).tolist()
    [0, 6238072747940578789]
    """
    x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_N ^ (x_N >> np.uint64(31))


def splitmix64(numbers_N: npt.NDArray[np.integer], seed: int) -> UInt64:
    """Hash each number: what a SplitMix64 generator with this seed gives at that place of its sequence.

    >>> splitmix64(np.array([1, 2]), seed=0).tolist()
    [16294208416658607535, 7960286522194355700]
    """
    with np.errstate(over="ignore"):
        return mix64(numbers_N.astype(np.uint64) * GOLDEN + np.uint64(seed))
