"""Check that the weights stay bit-identical: one seed of a fit and of a pre-training run, before and after a change.

    python bench/same_bits.py            # prints the SHA-256 of the weights of each run; change; run it again

Through the command line alone, so that the script runs on any state of the code. On one machine with as many threads
the hashes are equal unless the change changes a number. Some two minutes on two cores.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "filbert" / "samples"
ENGLISH, CHINESE = "fit {samples}/reviews_en.csv", "fit {samples}/reviews_zh.csv"
RUNS = {  # what is made first is there for what comes after
    "fit minilm, bf16 where the processor has it": f"{ENGLISH} --base minilm --epochs 1 -o {{work}}/minilm",
    "fit from random weights, fp32": f"{CHINESE} --base tiny --epochs 1 --precision fp32 -o {{work}}/tiny",
    "pretrain, MLM and NSP": "pretrain {work}/texts.txt --size tiny --tokens 60k --vocab {work}/vocab -o {work}/base",
    "fit --adapt, Muon": f"{ENGLISH} --base {{work}}/base --adapt --optimizer muon --epochs 1 -o {{work}}/adapted",
}


def main() -> None:
    """Make each run in a scratch folder and print its hash."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        rows = [path.read_text(encoding="utf-8").splitlines()[1:] for path in sorted(SAMPLES.glob("reviews_*.csv"))]
        texts = [row.rsplit(",", 1)[0].strip('"') for lines in rows for row in lines]
        (work / "texts.txt").write_text("\n\n".join(texts), encoding="utf-8")
        run("vocab {work}/texts.txt --size 2000 -o {work}/vocab", work)
        for name, command in RUNS.items():
            run(command, work)
            out = Path(command.rsplit("-o ", 1)[1].format(work=work))
            print(f"{digest(out / 'model.safetensors')[:16]}  {name}", flush=True)


def run(command: str, work: Path) -> None:
    """Run a `filbert` command; its talk is shown only where it fails."""
    words = [word.format(samples=SAMPLES, work=work) for word in command.split()]
    seed = [] if words[0] == "vocab" else ["--seed", "1"]
    done = subprocess.run([sys.executable, "-m", "filbert", *words, *seed], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"filbert {' '.join(words)}\n{done.stderr}")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
