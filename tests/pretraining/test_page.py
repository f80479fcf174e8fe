"""The report of a pre-training run: whole, inert whatever the corpora are called, and honest about chance."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from browsed import EVIL, Page

from filbert.errors import ModelError
from filbert.pretraining.card import KIND
from filbert.report import write_report

STEPS, BATCH = 400, 16_384


def interval(value: float, spread: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - spread, "high": value + spread, **more}


def corpus(name: str, documents: int, unknown: int, weight: float) -> dict[str, Any]:
    return {
        "corpus": name,
        "documents": documents,
        "duplicates": documents // 50,
        "sentences": 20 * documents,
        "tokens": 500 * documents,
        "unknown": unknown,
        "weight": weight,
    }


def full_report() -> dict[str, Any]:
    """What `_Run.report` of filbert/pretraining/run.py writes."""
    return {
        "task": "pretrain",
        "name": "filbert-mini",
        "scores": {
            "mlm_accuracy": interval(0.412, 0.006, n=61_234),
            "mlm_perplexity": interval(23.71, 0.84, n=61_234),
            "nsp_accuracy": interval(0.873, 0.011, n=3_200),
            "pseudo_perplexity": interval(18.46, 2.5, n=6_012, texts=100),
        },
        "data": {
            "corpora": [corpus("wiki.txt", 90_000, 40_000, 1.0), corpus("维基百科_中文", 30_000, 70_000, 2.0)],
            "held_out_tokens": 600_000,
        },
        "model": {
            "base": "mini",
            "random_start": True,
            "random_init": False,
            "layers": 4,
            "hidden": 256,
            "heads": 4,
            "vocabulary": 16_000,
            "position": "learned",
            "parameters": 7_518_338,
        },
        "training": {
            "seconds": 8_040.5,
            "steps": STEPS,
            "epochs": 0.08,
            "tokens": STEPS * BATCH,
            "tokens_per_second": 815.0,
            "best_step": 380,
            "stopped": "at the end of the schedule",
            "precision": "bf16",
            "device": "cpu",
            "processes": 1,
            "config": {"length": 128, "mask_rate": 0.15, "next_sentence": True, "learning_rate": None, "seed": 3},
            "command": "filbert pretrain wiki.txt 维基百科_中文 --size mini",
        },
        "versions": {"filbert": "0.1.0", "torch": "2.10"},
    }


def log_lines(pairs: bool = True) -> list[dict[str, Any]]:
    """The train.jsonl of a run whose loss falls from 9.7 to 3.5."""
    lines: list[dict[str, Any]] = []
    for step in range(1, STEPS + 1):
        loss = 3.5 + 6.2 * math.exp(-step / 60) + 0.15 * math.sin(7 * step)
        rate = 1e-3 * min(1, step / 20, (STEPS - step) / 120)
        lines.append({"step": step, "epoch": step / 5000, "loss": loss, "learning_rate": rate})
        if step % 20 == 0:
            figures = {"loss": loss + 0.1, "mlm_loss": loss - 0.3, "mlm_accuracy": 0.42 * (1 - math.exp(-step / 90))}
            if pairs:
                figures |= {"nsp_loss": 0.4, "nsp_accuracy": 0.88 - 0.38 * math.exp(-step / 150)}
            lines.append({"step": step, "epoch": step / 5000, "validation": figures})
    return lines


def written(folder: Path, report: dict[str, Any], log: list[dict[str, Any]]) -> tuple[str, str]:
    """Write a run folder and return its page and its model card."""
    (folder / "report.json").write_text(json.dumps(report), "utf-8")
    (folder / "filbert.json").write_text(json.dumps({"format": 1, "task": "pretrain"}), "utf-8")
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log), "utf-8")
    write_report(folder, KIND)
    return (folder / "report.html").read_text("utf-8"), (folder / "README.md").read_text("utf-8")


def test_the_page_is_whole(tmp_path: Path) -> None:
    html, _ = written(tmp_path, full_report(), log_lines())
    page = Page(html)
    assert page.open == []
    assert page.ids("section") == ["summary", "scores", "curves", "data", "training", "reproduce", "next"]
    drawn = [found for name, found in page.elements if name == "svg" and found.get("role") == "img"]
    assert len(drawn) == 4
    assert all(found["aria-label"] for found in drawn)
    for said in (
        "41.2 %40.6–41.8",  # value and interval of a card
        "23.7",
        "By chance: 50 %.",
        "By chance: 16,000.",
        "7.52 million",
        "2 h 14 min",
        "61,234 of them masked",
        "filbert fit your.csv --base filbert-mini",
        "filbert pretrain wiki.txt 维基百科_中文 --size mini",
        "size mini, from random weights and word vectors",
    ):
        assert said in page.text
    assert "http" not in html.replace("http-equiv", "")


def test_each_corpus_has_its_line_and_all_have_one_together(tmp_path: Path) -> None:
    html, markdown = written(tmp_path, full_report(), log_lines())
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall("<tr.*?</tr>", html)]
    assert ["维基百科_中文", "30,000", "600", "600,000", "15,000,000", "2", "0.5 %"] in rows
    assert ["together", "120,000", "2,400", "2,400,000", "60,000,000", "", "0.2 %"] in rows
    assert r"| 维基百科\_中文 | 30,000 | 600 |" in markdown


def test_the_card_tells_how_to_use_it_and_the_losses(tmp_path: Path) -> None:
    _, markdown = written(tmp_path, full_report(), log_lines())
    assert markdown.startswith("---\nlibrary_name: transformers\npipeline_tag: fill-mask\n")
    assert "base_model" not in markdown  # it has none
    wanted = ["Scores", "Data", "Loss", "Use", "Intended use", "Out of scope", "How it was made"]
    assert re.findall(r"^## (.+)$", markdown, re.MULTILINE) == wanted
    assert "| MLM accuracy | 41.2 % (40.6–41.8) |" in markdown
    assert "| NSP accuracy | 87.3 % (86.2–88.4) | 50 % |" in markdown
    assert "seed 3, 400 steps" in markdown
    assert "`mask_rate` 0.15" in markdown
    part = markdown.split("## Loss")[1].split("## Use")[0]
    curve = [line.split("|")[1:4] for line in part.splitlines() if re.match(r"\| [\d.]", line)]
    assert len(curve) == 10
    assert curve[-1][0].strip() == "6.55"  # million tokens: 400 steps × 16,384
    lines = {line["step"]: line for line in log_lines() if "loss" in line}
    first = sum(lines[step]["loss"] for step in range(1, 21)) / 20
    assert curve[0][1].strip() == f"{first:.3f}"
    for name in ("AutoModel", "BertForPreTraining"):
        assert f"{name}.from_pretrained(folder)" in markdown


def test_the_licence_is_shown_or_asked_for(tmp_path: Path) -> None:
    report = full_report()
    _, markdown = written(tmp_path, report, [])
    assert "Licence of the data: **to be filled in" in markdown
    report["data"]["licence"] = "CC BY-SA 4.0"
    html, markdown = written(tmp_path, report, [])
    assert "Licence of the data: CC BY-SA 4.0" in markdown
    assert "CC BY-SA 4.0" in html


def test_names_are_inert(tmp_path: Path) -> None:
    report = full_report()
    report["name"] = f"{EVIL}'; rm -r x"
    report["data"]["corpora"][0]["corpus"] = f"{EVIL}| [x](javascript:1)\n# heading"
    report["model"]["base"] = EVIL
    report["training"]["config"]["`" + EVIL] = EVIL
    html, markdown = written(tmp_path, report, log_lines())
    page = Page(html)
    assert not {name for name, _ in page.elements} & {"script", "img", "iframe", "link", "object", "form"}
    assert EVIL in page.text
    bare = re.sub("^```.*?^```|`[^`\n]*`", "", markdown, flags=re.DOTALL | re.MULTILINE)  # code shows as it is
    assert "<script" not in bare
    assert "\n# heading" not in markdown
    assert r"\[x\](javascript:1)" in markdown
    assert "--base '<script>" in markdown  # quoted for the shell


def test_without_next_sentence_prediction_nothing_speaks_of_its_score(tmp_path: Path) -> None:
    report = full_report()
    del report["scores"]["nsp_accuracy"]
    report["training"]["config"]["next_sentence"] = False
    html, markdown = written(tmp_path, report, log_lines(pairs=False))
    assert "NSP" not in html + markdown
    assert "filbert next" not in html + markdown
    assert "that head was not trained" in markdown


@pytest.mark.parametrize(("accuracy", "warned"), [(0.505, True), (0.53, False)])
def test_next_sentences_guessed_as_by_a_coin_are_said_so(tmp_path: Path, accuracy: float, warned: bool) -> None:
    report = full_report()
    report["scores"]["nsp_accuracy"] = interval(accuracy, 0.01, n=3_200)
    html, markdown = written(tmp_path, report, [])
    assert ("has not been learned" in html) == warned
    assert ("has not been learned" in markdown) == warned


def test_a_run_from_a_base_names_it(tmp_path: Path) -> None:
    report = full_report()
    report["model"] |= {"base": "google-bert/bert-base-chinese", "random_start": False}
    html, markdown = written(tmp_path, report, [])
    assert 'base_model: "google-bert/bert-base-chinese"' in markdown
    assert "pre-trained further from google-bert/bert-base-chinese" in html
    assert "random weights" not in html


def test_only_the_score_on_masked_tokens_is_required(tmp_path: Path) -> None:
    least = {"task": "pretrain", "scores": {"mlm_accuracy": interval(0.4, 0.01)}}
    html, _ = written(tmp_path, least, [])
    assert Page(html).ids("section") == ["summary", "scores", "next"]


def test_the_report_is_a_pure_function_of_the_folder(tmp_path: Path) -> None:
    first = written(tmp_path, full_report(), log_lines())
    write_report(tmp_path, KIND)
    assert ((tmp_path / "report.html").read_text("utf-8"), (tmp_path / "README.md").read_text("utf-8")) == first


@pytest.mark.parametrize("text", ['{"task": "pretrain"}', '{"task": "pretrain", "scores": []}'])
def test_a_report_without_scores_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ModelError, match=r"report\.json .* — "):
        write_report(tmp_path, KIND)
