"""How large an installation is that scores and serves, and that it does so: in a clean environment, as the Dockerfile.

    python bench/install_size.py [--python python3] [--write]

Runs the steps that the Dockerfile runs to install (all but apt-get, users and the like) in a temporary folder, prints
the size of each package and the sum, opens filbert-mini with a random head there, predicts a file and answers a request
over HTTP. Returns 1 where torch came along, an answer is missing, or the sum is above 300 MB.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from records import HERE, append

ROOT = HERE.parent
RESULTS = HERE / "results" / "install_size.jsonl"
MOST = 300  # megabytes
SIZES = """
import json
from importlib.metadata import distributions
found = {}
for one in distributions():
    paths = [file.locate() for file in one.files or ()]
    found[one.metadata["Name"]] = sum(path.stat().st_size for path in paths if path.is_file())
print(json.dumps(found))
"""


def steps(environment: Path, source: Path, python: str) -> list[str]:
    """Return the Dockerfile's steps that install, for another folder, source and Python."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    found = [
        line.removeprefix("RUN ") for line in text.splitlines() if line.startswith("RUN ") and "/opt/filbert" in line
    ]
    assert len(found) == 3, found
    there = [line.replace("/opt/filbert", str(environment)).replace("/src", str(source)) for line in found]
    return [re.sub(r"^python ", f"{python} ", line) for line in there]


def copied(work: Path) -> Path:
    """Copy what .dockerignore lets in."""
    source = work / "src"
    unwanted = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
    shutil.copytree(ROOT / "filbert", source / "filbert", ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    return source


def answered(environment: Path, work: Path) -> None:
    """Predict a file and a text over HTTP with a model of random head; raises where an answer is missing."""
    from labelled import save_random

    from filbert.bases.find import find_base
    from filbert.bases.load import load_base

    encoder, tokenizer, _ = load_base(find_base("filbert-mini").folder)
    save_random(work / "model", encoder, tokenizer, 128)
    (work / "new.csv").write_text("text\nNot a dull minute in it.\n房间干净。\n", encoding="utf-8")
    command = [str(environment / "bin" / "filbert")]
    subprocess.run([*command, "predict", "model", "new.csv", "-o", "out.csv"], cwd=work, check=True)
    assert len((work / "out.csv").read_text("utf-8").splitlines()) == 3
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([*command, "serve", "model", "--port", str(port)], cwd=work) as server:
        try:
            body = json.dumps({"inputs": "Not a dull minute in it."}).encode()
            for _ in range(600):
                try:
                    asked = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body)
                    with urllib.request.urlopen(asked, timeout=20) as answer:
                        print("served:", answer.read().decode())
                        return
                except OSError:
                    assert server.poll() is None, "the server ended"
                    time.sleep(0.2)
            raise TimeoutError("the server did not answer")
        finally:
            server.terminate()


def main() -> int:
    """Install, measure, try; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="Python of the environment")
    parser.add_argument("--write", action="store_true", help="append to bench/results/install_size.jsonl")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        environment = work / "environment"
        for step in steps(environment, copied(work), asked.python):
            print("$", step, flush=True)
            subprocess.run(step, shell=True, check=True)
        told = subprocess.run([environment / "bin" / "python", "-c", SIZES], stdout=subprocess.PIPE, check=True)
        sizes = {one: size / 2**20 for one, size in json.loads(told.stdout).items()}
        for one, size in sorted(sizes.items(), key=lambda item: -item[1])[:15]:
            print(f"{size:8.1f} MB  {one}")
        total = sum(path.lstat().st_size for path in environment.rglob("*")) / 2**20
        print(f"{total:8.1f} MB  in all")
        answered(environment, work)
    largest = {one: round(size, 1) for one, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]}
    if asked.write:
        append(RESULTS, {"megabytes": round(total, 1), "largest": largest, "packages": len(sizes)})
    return int(total > MOST or "torch" in sizes)


if __name__ == "__main__":
    sys.exit(main())
