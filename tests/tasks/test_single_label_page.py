"""The report of a classifier: whole, inert whatever the labels and texts hold, and free of the network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from browsed import EVIL, Page
from reports import full_report, log_lines

from filbert.errors import ModelError
from filbert.metrics.classes import score
from filbert.report import read_log, write_report
from filbert.tasks import single_label

SECTIONS = [
    "summary",
    "confusion",
    "classes",
    "mistakes",
    "calibration",
    "lengths",
    "curves",
    "data",
    "training",
    "reproduce",
    "next",
]


def written(folder: Path, report: dict[str, Any], log: str = "") -> tuple[str, str]:
    """Write a run folder and return its page and its model card."""
    (folder / "report.json").write_text(json.dumps(report), "utf-8")
    if log:
        (folder / "train.jsonl").write_text(log, "utf-8")
    write_report(folder, single_label.page())
    return (folder / "report.html").read_text("utf-8"), (folder / "README.md").read_text("utf-8")


def test_every_section_is_there(tmp_path: Path) -> None:
    html, markdown = written(tmp_path, full_report(["bad", "good"]), log_lines())
    page = Page(html)
    assert page.ids("section") == SECTIONS
    assert page.open == []
    assert all(found.get("aria-label") for name, found in page.elements if name == "svg" and found.get("role") == "img")
    for said in (
        "better than the linear baseline",
        "5 of 200 texts truncated",
        "filbert fit reviews.csv",
        "3 texts stand",
    ):
        assert said in page.text.lower() or said in page.text
    headings = re.findall(r"^## (.+)$", markdown, re.MULTILINE)
    wanted = ["Scores", "Data", "Long texts", "Calibration", "Use", "Limits", "How it was made"]
    assert headings == wanted
    assert "AutoModelForSequenceClassification.from_pretrained" in markdown


@pytest.mark.parametrize("split", ["test", "validation"])
def test_only_scores_are_required(tmp_path: Path, split: str) -> None:
    least = {
        "task": "single-label",
        "labels": ["a", "b"],
        "scores": {split: score([0, 1], [[1, 0], [0, 1]], ["a", "b"])},
    }
    html, markdown = written(tmp_path, least)
    assert Page(html).ids("section") == ["summary", "confusion", "classes"]
    for text in (html, markdown):
        assert ("slightly optimistic" in text) == (split == "validation")


def test_labels_and_texts_are_inert(tmp_path: Path) -> None:
    report = full_report([EVIL, 'b" onload="x'])
    report["name"] = EVIL + "\n# heading"
    report["mistakes"][0]["text"] = f"{EVIL} \u202eevil\u202c zero\u200bwidth \ud800 \x07"
    report["data"]["source"] = "`x` | [link](javascript:1)"
    html, markdown = written(tmp_path, report, log_lines())
    page = Page(html)
    assert not {name for name, _ in page.elements} & {"script", "img", "iframe", "link", "object", "form"}
    assert not [key for _, found in page.elements for key in found if key.startswith("on") or key in ("src", "style")]
    assert all((found["href"] or "").startswith("#") for name, found in page.elements if name == "a")
    assert EVIL in page.text
    for marked in ("U+202E", "U+200B", "U+D800", "U+0007"):
        assert marked in page.text
    assert not re.search("[\u202a-\u202e\u200b\x07]", html + markdown)
    assert "<script" not in re.sub("^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)  # code shows as it is
    assert "\n# heading" not in markdown
    assert r"\[link\](javascript:1)" in markdown


def test_nothing_is_loaded_and_the_policy_allows_the_style_alone(tmp_path: Path) -> None:
    html, _ = written(tmp_path, full_report(["bad", "good"]))
    style = re.search("<style>(.*)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    page = Page(html)
    policy = next(found["content"] for _, found in page.elements if found.get("http-equiv"))
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in html
    assert "@import" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_many_classes_show_pairs_instead_of_a_matrix(tmp_path: Path) -> None:
    html, _ = written(tmp_path, full_report([f"intent {i}" for i in range(40)]))
    assert "most confused pairs of 40 classes" in html
    assert 'class="matrix"' not in html


def test_scores_without_repeated_texts_stand_beside_the_raw_ones(tmp_path: Path) -> None:
    report = full_report(["neg", "pos"])
    fresh = {**report["scores"]["test"], "n": 150, "accuracy": {"value": 0.5, "low": 0.42, "high": 0.58}}
    page, _ = written(tmp_path, {**report, "without_repeated": {"test": fresh}})
    assert "Without the 50 of 200 test texts that stand in train, too: accuracy 50.0 % (42.0–58.0)." in page
    assert "Without the" not in written(tmp_path, report)[0]


def test_chinese_labels_stay_readable(tmp_path: Path) -> None:
    html, markdown = written(tmp_path, full_report(["娱乐", "体育"]))
    assert ">娱乐<" in html
    assert "娱乐, 体育" in markdown


def test_the_report_is_a_pure_function_of_the_folder(tmp_path: Path) -> None:
    first = written(tmp_path, full_report(["a", "b"]), log_lines())
    write_report(tmp_path, single_label.page())
    assert (tmp_path / "report.html").read_text("utf-8") == first[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "report.html",
        "report.json",
        "train.jsonl",
    ]


def test_settings_fill_in_the_versions(tmp_path: Path) -> None:
    report = full_report(["a", "b"])
    del report["versions"]
    (tmp_path / "filbert.json").write_text('{"versions": {"torch": "2.10"}}')
    html, markdown = written(tmp_path, report)
    assert "torch 2.10" in markdown
    assert ">2.10<" in html


def test_the_temperature_is_told_and_not_applied_again(tmp_path: Path) -> None:
    html, markdown = written(tmp_path, full_report(["a", "b"]))
    assert "temperature of 1.300" in html
    assert "temperature of 1.300" in markdown
    assert "probabilities = logits.softmax(-1)" in markdown  # fit.py folds it into the last layer's weights


def test_a_log_cut_short_and_resumed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"step": 2, "loss": 9}\n{"step": 1, "loss": NaN}\n\nnull\n{"step": 2, "loss": 3}\n{"step": 3, "lo')
    assert [(each["step"], each["loss"]) for each in read_log(path)][1:] == [(2, 3)]
    written(tmp_path, full_report(["a", "b"]))


@pytest.mark.parametrize("text", [None, "{", "[]", '{"labels": ["a"]}', '{"labels": [], "scores": {"test": {"n": 1}}}'])
def test_a_folder_without_a_report_is_refused(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(ModelError, match=r"report\.json .* — "):
        write_report(tmp_path, single_label.page())
    assert not (tmp_path / "report.html").exists()
