"""Shared by the speed benchmarks: alternating runs, ratios within a round, the processor's peak, the record."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import torch
from records import commit
from torch import Tensor

from filbert.config import EncoderConfig
from filbert.model.device import native_bf16

PEAKS = (torch.float32, torch.bfloat16, torch.int8) if native_bf16() else (torch.float32,)  # others are emulated
TUNED_TYPE = "bf16" if native_bf16() else "fp32"  # what somebody who knows the machine trains in
PEAK = """
import atexit
from pathlib import Path
atexit.register(lambda: print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]))
"""  # in KB; getrusage would give the size of the process that starts this one, where that is larger
Measured = dict[str, list[tuple[float, float]]]  # side → (real tokens/s, mean loss) of each round


class Side(Protocol):
    """A loop that is measured."""

    def run(self) -> tuple[float, float]:
        """Train for a round → real tokens/s, mean loss."""


def alternate(sides: Mapping[str, Side], rounds: int) -> Measured:
    """Run all sides in turn; the first round warms up and is not kept."""
    measured: Measured = {name: [] for name in sides}
    for n in range(rounds + 1):
        for name, side in sides.items():
            speed, loss = side.run()
            print(f"round {n} {name}: {speed:,.0f} tokens/s, loss {loss:.4f}", flush=True)
            if n:
                measured[name].append((speed, loss))
    return measured


def ratios(measured: Measured, rival: str) -> dict[str, float]:
    """Medians of how many times the rival's speed of the same round each side has."""
    return {
        name: round(median(ours / theirs for (ours, _), (theirs, _) in zip(runs, measured[rival], strict=True)), 2)
        for name, runs in measured.items()
    }


def peak(dtype: torch.dtype) -> float:
    """Matrix product peak in GFLOP/s (int8: Gop/s): 4096 × 384 by 384 × 1536, median of 20."""
    product = _product(torch.randn(4096, 384), torch.randn(1536, 384), dtype)
    seconds = []
    for _ in range(25):
        began = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - began)
    return 2 * 4096 * 384 * 1536 / median(seconds[5:]) / 1e9


def _product(a: Tensor, b: Tensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    if dtype != torch.int8:
        a, b = a.to(dtype), b.to(dtype)
        return lambda: torch.nn.functional.linear(a, b)
    unsigned, signed = (a.abs() * 50).to(torch.uint8), (b * 30).to(torch.int8)
    packed, scale_N = torch.ops.onednn.qlinear_prepack(signed, list(a.shape)), torch.full((len(b),), 0.01)
    zero_N, rest = torch.zeros(len(b), dtype=torch.int64), (None, 1.0, 0, torch.bfloat16, "none", [], "")
    return lambda: torch.ops.onednn.qlinear_pointwise(unsigned, 0.01, 0, packed, scale_N, zero_N, *rest)  # type: ignore[no-any-return]


def products(config: EncoderConfig, lengths: Sequence[int]) -> tuple[int, int]:
    """Count the operations of the products of one forward pass: those of a plain BERT, and those a classifier needs.

    Of its last layer a classifier needs keys and values of all tokens, and the rest of the first token alone.
    """
    width, inner, last = config.hidden, config.intermediate, config.layers - 1
    tokens, pairs = sum(lengths), sum(length * length for length in lengths)
    layer = 2 * tokens * (4 * width * width + 2 * width * inner) + 4 * pairs * width
    first_only = 2 * tokens * 2 * width * width + 4 * tokens * width
    first_only += 2 * len(lengths) * (2 * width * width + 2 * width * inner)
    return config.layers * layer, last * layer + first_only


def compared(measured: Measured, default: str, tuned: str) -> dict[str, Any]:
    """Return what a record of training speed says of its rounds, beside the default and the tuned rival."""
    return {
        "speed": {name: round(median(speed for speed, _ in runs), 1) for name, runs in measured.items()},
        "ratio": ratios(measured, default),
        "ratio_to_tuned": ratios(measured, tuned),
        "loss": {name: [round(loss, 4) for _, loss in runs] for name, runs in measured.items()},
    }


def circumstances(*packages: str) -> dict[str, Any]:
    """Return what a record says of the machine, the code and the day."""
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return {
        "peak_gflops": {str(dtype).removeprefix("torch."): round(peak(dtype)) for dtype in PEAKS},
        "bf16": native_bf16(),
        "versions": versions,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def record(results: Path, row: Mapping[str, Any], *, write: bool) -> None:
    """Print a record and, where asked, append it."""
    print(json.dumps(row, indent=2))
    if write:
        results.parent.mkdir(exist_ok=True)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def resident(code: str) -> tuple[int, str]:
    """Run a program in a process of its own → its largest resident size in MB, and what it printed."""
    done = subprocess.run([sys.executable, "-c", PEAK + code], stdout=subprocess.PIPE, text=True, check=True)
    printed, _, peak_kb = done.stdout.rstrip().rpartition("\n")
    return round(int(peak_kb) / 1024), printed


def by_length(lengths: Sequence[int], batch: int) -> list[list[int]]:
    """Sort texts by length, the best case of `group_by_length`."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[i : i + batch] for i in range(0, len(order), batch)]
