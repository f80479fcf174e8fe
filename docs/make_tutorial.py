"""Run the cells of the tutorial, and write what they print and draw back into its pages.

    python docs/make_tutorial.py [3-attention …]        # all chapters, English and Chinese: some ten minutes

A cell is a block of Python; what it prints stands in the block after it. A page's cells run as one program in an empty
folder, and the SVG files that it leaves there become the page's pictures. Needs matplotlib, and a Chinese font
(Noto Sans CJK SC) for the Chinese pages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).parent
FOLDERS = {"en": DOCS / "tutorial", "zh": DOCS / "zh" / "tutorial"}
CELL = re.compile(r"^```python\n(?P<code>.*?)^```\n(?P<output>\n```(?:text|py)\n(?P<printed>.*?)^```\n)?", re.M | re.S)
UNWRITTEN = ("9-imdb",)  # it needs IMDb: what it prints is not in the page
MARK = "\x1e"  # printed between two cells
STYLE = """\
backend: Agg
svg.hashsalt: filbert
font.family: DejaVu Sans, Noto Sans CJK SC
savefig.bbox: tight
"""


def chapters(language: str = "en") -> list[Path]:
    """Return the pages of the chapters, in order."""
    return sorted(FOLDERS[language].glob("[1-9]-*.md"))


def cells(page: str) -> list[str]:
    """Return the code of a page's cells."""
    return [found["code"] for found in CELL.finditer(page)]


def printed(page: str) -> list[str]:
    """Return what a page says that each of its cells prints."""
    return [found["printed"] or "" for found in CELL.finditer(page)]


def run(codes: Sequence[str], folder: Path) -> list[str]:
    """Run cells as one program in a folder; return what each printed. RuntimeError where one fails."""
    (folder / "matplotlibrc").write_text(STYLE, encoding="utf-8")
    (folder / "cells.py").write_text(f"print({MARK!r}, end='', flush=True)\n".join(codes), encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(DOCS.parent), os.environ.get("PYTHONPATH", "")]),
        "PYTHONUTF8": "1",
        "SOURCE_DATE_EPOCH": "0",  # no date in a picture
    }
    ran = subprocess.run([sys.executable, "cells.py"], cwd=folder, env=environment, capture_output=True, text=True)
    if ran.returncode or "missing from font" in ran.stderr:
        raise RuntimeError(ran.stderr[-3000:])
    return ran.stdout.split(MARK)


def written(page: str, outputs: Sequence[str]) -> str:
    """Return a page with what its cells print; source code of functions is a block of its own kind."""
    left = iter(outputs)

    def one(found: re.Match[str]) -> str:
        kind, text = "py" if "getsource" in found["code"] else "text", next(left).strip("\n")
        lines = "\n".join(line.rstrip() for line in text.splitlines())
        return f"```python\n{found['code']}```\n" + (f"\n```{kind}\n{lines}\n```\n" if lines else "")

    return CELL.sub(one, page)


def main(names: Sequence[str]) -> None:
    """Make the chapters of these names again, or all."""
    for language, folder in FOLDERS.items():
        for path in chapters(language):
            if path.stem in UNWRITTEN or (names and path.stem not in names):
                continue
            page = path.read_text("utf-8")
            with tempfile.TemporaryDirectory() as made:
                path.write_text(written(page, run(cells(page), Path(made))), encoding="utf-8")
                for picture in Path(made).glob("*.svg"):
                    lines = picture.read_text("utf-8").splitlines()
                    kept = "\n".join(line.rstrip() for line in lines) + "\n"
                    (folder / "pictures" / picture.name).write_text(kept, encoding="utf-8")
            print(path.relative_to(DOCS), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
