"""Choose the device and the dtype. torch is imported only where it is needed."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import TYPE_CHECKING

from filbert.errors import ConfigError, shown

if TYPE_CHECKING:
    import torch

GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


def best_device(device: str | None = None) -> str:
    """Return `device` or, for None, `cuda` where there is a GPU, else `cpu`; ConfigError where it is not available."""
    if device is None and not (_may_have_gpu() and importlib.util.find_spec("torch")):
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
                f"device {device} is not available: torch sees {torch.cuda.device_count()} GPUs — use cpu"
            )
    return device


def _may_have_gpu() -> bool:
    """Return whether there may be a GPU, so that torch must be asked; on Linux its driver has a device file."""
    return not sys.platform.startswith("linux") or any(map(os.path.exists, GPU_FILES))


def native_bf16() -> bool:
    """Return whether this processor multiplies bf16 in hardware; emulated bf16 is slower than fp32."""
    import torch

    probes = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return any(probe is not None and probe() for probe in probes)


def working_dtype(precision: str, device: str) -> torch.dtype:
    """Return the dtype of `fp32`, `bf16` or `auto` on a device."""
    import torch

    if precision == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if device.startswith("cuda") else native_bf16()
        return torch.bfloat16 if native else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
