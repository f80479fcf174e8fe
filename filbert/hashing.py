"""SplitMix64, a hash of whole numbers (Steele et al. 2014): the same on every machine; and a cache keyed by digests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from hashlib import blake2b
from threading import Lock
from typing import TypeVar

import numpy as np
import numpy.typing as npt

GOLDEN = np.uint64(0x9E3779B97F4A7C15)

UInt64 = npt.NDArray[np.uint64]

Result = TypeVar("Result")


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


def remembered(most: int) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Keep the last `most` results of a function of texts by a digest of these: no text stays alive.

    >>> length = remembered(2)(len)
    >>> length("text"), length("text")
    (4, 4)
    """

    def around(function: Callable[..., Result]) -> Callable[..., Result]:
        kept: OrderedDict[bytes, Result] = OrderedDict()
        lock = Lock()

        @wraps(function)
        def wrapped(*given: Hashable) -> Result:
            key = blake2b(repr(given).encode("utf-8", "surrogatepass"), digest_size=16).digest()
            with lock:
                if key in kept:
                    kept.move_to_end(key)
                    return kept[key]
            found = function(*given)
            with lock:
                kept[key] = found
                while len(kept) > most:
                    kept.popitem(last=False)
            return found

        return wrapped

    return around
