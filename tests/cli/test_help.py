"""The commands and their options as they are listed, and the page that is made of them."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import pytest
from command import Run

from filbert.cli import COMMANDS
from filbert.cli.options import Json, parse_merges, reading
from filbert.cli.parts import name_of
from filbert.errors import ConfigError
from filbert.readers.options import ReadOptions

ROOT = Path(__file__).parents[2]


def test_version_and_usage(run: Run) -> None:
    assert run("--version").out.startswith("filbert ")
    assert run("predict").code == 2
    assert run("fly").code == 2


def test_help_lists_the_commands_in_their_order(run: Run) -> None:
    listed = re.findall(r"^  (\w+)  +[A-Z]", run("--help").out.split("Commands:")[1], re.MULTILINE)
    assert listed[:4] == ["fit", "predict", "evaluate", "explain"]
    assert listed == list(COMMANDS)


def test_merges() -> None:
    assert parse_merges(["Pos=pos,POS=pos", "N=n"]) == {"Pos": "pos", "POS": "pos", "N": "n"}
    assert parse_merges(["a, b=c"]) == {"a, b": "c"}
    for wrong in ("Pos", "=", "a=b=c"):
        with pytest.raises(ConfigError):
            parse_merges([wrong])


def test_the_options_of_reading_stand_where_read_stood() -> None:
    seen = []

    @reading(labelled=False)
    def count(path: str, *, read: ReadOptions, as_json: Json = False) -> None:
        seen.append((path, read, as_json))

    options = ["text", "text_pair", "delimiter", "skip_lines", "header", "quotes", "encoding", "on_bad_rows", "sheet"]
    assert list(inspect.signature(count).parameters) == ["path", *options, "as_json"]
    count("a.csv", text=["review"], header=False, as_json=True)
    assert seen == [("a.csv", ReadOptions(text="review", header=False), True)]
    labelled = reading()(inspect.unwrap(count))
    labelled("a.csv", label=["2"], merge_labels=["Pos=pos"], split_column="part", quotes=True)
    assert seen[1][1] == ReadOptions(label="2", merge_labels={"Pos": "pos"}, split_column="part", quotes=True)


def test_name_of() -> None:
    assert name_of("a/reviews.tar.xz") == "reviews"
    assert name_of(".") not in ("", ".")


def test_commands_page_is_up_to_date() -> None:
    page = runpy.run_path(str(ROOT / "docs/make_commands.py"))["page"]()
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == page, "run `make reference`"
