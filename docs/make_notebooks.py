"""Write the notebooks from the tutorial: all chapters and the run on IMDb, English and Chinese.

    python docs/make_notebooks.py

A page's text becomes cells of Markdown, its Python cells of code; what they print and draw is left out, since the
notebook makes it. The code in answers stays in their text. The first cell of code installs Filbert.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import make_tutorial

FOLDER = Path(__file__).parent.parent / "notebooks"
NAMES = {"en": "filbert_colab.ipynb", "zh": "filbert_colab.zh.ipynb"}
HEADS = {
    "en": """\
# BERT from nothing

The chapters of Filbert's tutorial and a quick run on IMDb, for Jupyter or a hosted GPU or CPU. Run it from top to
bottom: the cell below installs what is missing. Each chapter also runs by itself.
""",
    "zh": """\
# 从零实现 BERT

Filbert 教程的全部章节，外加 IMDb 上的一次快速训练，可在 Jupyter 或云端的 GPU、CPU 上运行。
请从上到下逐格运行：下面一格会安装缺少的部分。每一章也可以单独运行。
""",
}
INSTALL = """\
import importlib.util
import subprocess
import sys
from pathlib import Path

SOURCE = ""  # {source}
for folder in (Path.cwd().parent, Path.cwd()):  # {clone}
    if (folder / "filbert" / "samples").is_dir():
        SOURCE = SOURCE or str(folder)
if importlib.util.find_spec("filbert") is None:
    assert SOURCE, "{missing}"
    wanted = f"filbert[train,serve] @ {{SOURCE}}" if "://" in SOURCE else f"{{SOURCE}}[train,serve]"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", wanted, "matplotlib"], check=True)
    importlib.invalidate_caches()
"""
INSTALLS = {
    "en": {
        "source": "where Filbert is: git+https://… of its repository, or the folder of a clone",
        "clone": "a notebook inside a clone finds it",
        "missing": "set SOURCE above: git+https://… of Filbert's repository, or the folder of a clone",
    },
    "zh": {
        "source": "Filbert 在哪里：仓库地址 git+https://…，或克隆所在的文件夹",
        "clone": "笔记本在克隆里时会自动找到",
        "missing": "请在上面填写 SOURCE：Filbert 仓库的地址 git+https://…，或克隆所在的文件夹",
    },
}
FONTS = """\
import matplotlib.pyplot as plt
from matplotlib import font_manager

CHINESE = ("Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "WenQuanYi Zen Hei", "SimHei")
found = {font.name for font in font_manager.fontManager.ttflist}
plt.rcParams["font.family"] = ["DejaVu Sans", *[name for name in CHINESE if name in found][:1]]
if len(plt.rcParams["font.family"]) == 1:
    print("没有找到中文字体，图中的汉字会显示为方框；在 Colab 上可运行 !apt-get install -y fonts-noto-cjk，再重启")
"""
LINK = re.compile(r"\]\(([^)#]+)\)")
DETAILS = re.compile(r"^<details.*?^</details>\n", re.M | re.S)
SHOWN = re.compile(r"^```(?:text|py)\n.*?^```\n|^!\[[^]]*\]\(pictures/[^)]+\)\n", re.M | re.S)


def cells(page: str) -> list[tuple[str, str]]:
    """Return the cells of a page, each its kind ("markdown" or "code") and its source."""
    kept: list[str] = []

    def put_away(found: re.Match[str]) -> str:
        kept.append(found[0].replace('<details markdown="1">', "<details>"))
        return f"\x00{len(kept) - 1}\x00\n"

    page = SHOWN.sub("", DETAILS.sub(put_away, page))
    made = []
    for number, part in enumerate(re.split(r"^```python\n(.*?)^```\n", page, flags=re.M | re.S)):
        text = re.sub("\x00(\\d+)\x00\n", lambda found: kept[int(found[1])], part).strip("\n")
        text = re.sub(r"\n{3,}", "\n\n", text)
        if text:
            made.append(("code" if number % 2 else "markdown", text))
    return made


def linked(text: str) -> str:
    """Return text whose relative links go out from the notebooks' folder.

    >>> linked("[a](../../filbert/a.py) [b](../../../filbert/b.py)")
    '[a](../filbert/a.py) [b](../filbert/b.py)'
    """
    return re.sub(r"\]\((?:\.\./)+", "](../", text)


def notebook(language: str) -> dict[str, Any]:
    """Return a notebook of format 4."""
    parts = [("markdown", HEADS[language].strip("\n")), ("code", INSTALL.format(**INSTALLS[language]).strip("\n"))]
    if language == "zh":
        parts.append(("code", FONTS.strip("\n")))
    for path in make_tutorial.chapters(language):
        parts += cells(path.read_text("utf-8"))
    made = []
    for number, (kind, text) in enumerate(parts):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        if kind == "code":
            cell |= {"execution_count": None, "outputs": []}
        source = linked(text) if kind == "markdown" else text
        made.append({**cell, "source": source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"accelerator": "GPU", "kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def written(language: str) -> str:
    """Return the file of a notebook."""
    return json.dumps(notebook(language), ensure_ascii=False, indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for language, name in NAMES.items():
        (FOLDER / name).write_text(written(language), encoding="utf-8")
