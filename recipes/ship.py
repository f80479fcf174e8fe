"""Put a pre-trained run into the package, in bf16: `python recipes/ship.py RUN filbert/encoders/NAME`.

bf16 halves the file; the model card, the log and the figures of the run go with it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch

from filbert.checkpoint import load_pretrained, read_json, save_pretrained

LIMIT = 20 << 20  # bytes of the weights
KEPT = ("README.md", "report.json", "train.jsonl")


def main() -> None:
    """Read the run, write the folder, say what rounding cost."""
    run, out = Path(sys.argv[1]), Path(sys.argv[2])
    known = load_pretrained(run)
    told = read_json(run / "filbert.json")
    info = {key: value for key, value in told.items() if key not in ("files", "format", "task")}
    shutil.rmtree(out, ignore_errors=True)
    save_pretrained(out, known.model, known.tokenizer, info, dtype=torch.bfloat16)
    size = (out / "model.safetensors").stat().st_size
    if size > LIMIT:
        sys.exit(f"{out}/model.safetensors has {size:,} bytes, more than {LIMIT:,} — a smaller --size, or fewer words")
    for name in KEPT:
        shutil.copy(run / name, out / name)
    again = load_pretrained(out).model.state_dict()
    apart = max(float((again[name] - tensor).abs().max()) for name, tensor in known.model.state_dict().items())
    print(f"{out}: {size / 2**20:.1f} MB; a weight moved by {apart:.4f} at most")


if __name__ == "__main__":
    main()
