"""The documentation is true: the Python of its pages runs from top to bottom, and so do the examples of docstrings."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = [path for path in sorted((ROOT / "filbert").rglob("*.py")) if ">>> " in path.read_text("utf-8")]
READERS_OWN = ('Path("', "fetch(")  # files of the reader, and the hub: such an example is not run
PAGES = [path for path in sorted((ROOT / "docs").glob("*.md")) if "```python" in path.read_text("utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    assert len(blocks) >= 5
    script = tmp_path / "page.py"
    code = "\n".join(blocks)
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    ran = subprocess.run([sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert len(ran.stdout.splitlines()) >= len(blocks)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).with_suffix("").as_posix())
def test_the_examples_of_a_module_hold(path):
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    runner, told = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS), []
    for found in doctest.DocTestFinder().find(module):
        if not any(name in example.source for example in found.examples for name in READERS_OWN):
            runner.run(found, out=told.append)
    assert runner.failures == 0, "".join(told)


def test_every_package_stands_in_the_map():
    page = (ROOT / "docs" / "how-it-works.md").read_text("utf-8")
    packages = {path.parent.name for path in (ROOT / "filbert").glob("*/__init__.py")}
    assert {name for name in packages if f"](../filbert/{name})" not in page} == set()


def test_each_of_the_forty_faults_has_a_test_and_the_page_says_so():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import make_reliability
    finally:
        sys.path.remove(str(ROOT / "docs"))
    faults = [fault for part in make_reliability.PARTS.values() for fault in part]
    assert len(faults) == 40
    assert [fault for fault in faults if fault not in make_reliability.tests()] == []
    assert (ROOT / "docs" / "reliability.md").read_text("utf-8") == make_reliability.page()
