"""Which device to compute on, and in which numbers. torch is loaded only where it has to be asked."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from filbert.errors import ConfigError, shown

if TYPE_CHECKING:
    import torch

GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def best_device(device: str | None = None) -> str:
    """Return the device asked for, else `cuda` where there is one, else `cpu`; ConfigError where it is not there."""
    if device is None and not _gpu_in_sight():
        return "cpu"
    if device is None:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ConfigError(f"device {shown(device)} is unknown — choose cpu, cuda or cuda:0")
    if kind == "cuda":
        import torch

        if int(number or 0) >= torch.cuda.device_count():
            raise ConfigError(
                f"device {device} is not to be had: torch sees {torch.cuda.device_count()} GPUs — use cpu"
            )
    return device


def _gpu_in_sight() -> bool:
    """Say whether it is worth loading torch to ask for a GPU; on Linux a driver leaves a device file."""
    return not sys.platform.startswith("linux") or any(map(os.path.exists, GPU_FILES))


def native_bf16() -> bool:
    """Say whether this processor multiplies bf16 in hardware; emulated it is slower than fp32."""
    import torch

    probes = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(probe is not None and probe() for probe in probes)


def working_dtype(precision: str, device: str) -> torch.dtype:
    """Resolve `fp32`, `bf16` or `auto` on a device."""
    import torch

    if precision == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if device.startswith("cuda") else native_bf16()
        return torch.bfloat16 if native else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
