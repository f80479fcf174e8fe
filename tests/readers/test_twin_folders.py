"""Texts and summaries in two folders, as a folder and as an archive; columns of both in tables."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from filbert.errors import DataError
from filbert.finetuning.dataset import read_dataset
from filbert.readers.formats.twin_folders import twin_folders
from filbert.readers.options import ReadOptions
from filbert.readers.sources import open_source

TOPICS = ("business", "sport")


@pytest.fixture
def news(tmp_path: Path) -> Path:
    for topic in TOPICS:
        for n in range(4):
            for side, text in (
                ("News Articles", f"{topic} {n}\n\nIt rose. It fell. 它{n}。"),
                ("Summaries", f"It rose {n}.It fell."),
            ):
                file = tmp_path / "data" / "News" / side / topic / f"{n:03}.txt"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
    (tmp_path / "data" / "News" / "News Articles" / "README.TXT").write_text("about", encoding="utf-8")
    return tmp_path / "data"


def archived(folder: Path, kind: str = "xz") -> Path:
    path = folder.with_suffix(f".tar.{kind}")
    with tarfile.open(path, f"w:{kind}") as tar:  # type: ignore[call-overload]
        tar.add(folder, arcname="news")
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_a_text_meets_its_summary(news: Path, packed: bool) -> None:
    source = open_source(archived(news) if packed else news)
    found = list(source.examples())
    assert source.columns == ("file", "text", "summary")
    assert sorted(each.columns["file"] for each in found) == [
        f"{topic}/{n:03}.txt" for topic in TOPICS for n in range(4)
    ]
    for each in found:
        topic, number = each.columns["file"].removesuffix(".txt").split("/")
        assert each.text.startswith(f"{topic} {int(number)}\n")
        assert each.target == f"It rose {int(number)}.It fell."
    assert source.counts == {"read": 8, "accepted": 8, "quarantined": 0}


def test_the_task_is_found(news: Path) -> None:
    data = read_dataset(news)
    assert data.task.TARGET == "summary"
    assert "files without a partner in the other folder, not used: 1" in data.found


def test_a_file_that_cannot_be_decoded_is_named(news: Path) -> None:
    (news / "News" / "Summaries" / "sport" / "002.txt").write_bytes(b"It cost \xa35.")
    with pytest.raises(DataError, match=r"sport/002.txt"):
        list(open_source(news).examples())
    assert len(list(open_source(news, ReadOptions(encoding="latin-1")).examples())) == 8
    kept = open_source(news, ReadOptions(on_bad_rows="quarantine"), rejects=news.with_name("rejects.jsonl"))
    assert len(list(kept.examples())) == 7


@pytest.mark.parametrize(
    "names",
    [
        ["a/pos/1.txt", "a/neg/1.txt"],
        ["summaries/1.txt", "summaries/2.txt"],
        ["news/1.txt", "summaries/2.txt", "summaries/3.txt"],  # no file of one has a partner
        ["Summaries A/1.txt", "Summaries B/1.txt"],
    ],
)
def test_class_folders_stay_class_folders(names: list[str]) -> None:
    assert twin_folders(names) is None


def test_without_labels_the_texts_are_read_as_ever(news: Path) -> None:
    found = list(open_source(news / "News" / "News Articles", labelled=False).examples())
    assert len(found) == 8


@pytest.mark.parametrize(
    ("columns", "text", "summary"),
    [
        (("document", "summary"), "document", "summary"),
        (("id", "article", "highlights"), "article", "highlights"),
        (("正文", "摘要"), "正文", "摘要"),
        (("abstract", "title"), "abstract", "title"),
        (("content", "title"), "content", "title"),
    ],
)
def test_columns_of_texts_and_summaries_are_found(
    tmp_path: Path, columns: tuple[str, ...], text: str, summary: str
) -> None:
    cells = {
        text: "The firm's sales rose by {n}. It rained, and rained again, on Friday {n}.",
        summary: "Sales rose {n} %.",
    }
    rows = [{name: cells.get(name, "{n}").format(n=n) for name in columns} for n in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    roles = open_source(tmp_path / "a.jsonl").roles
    assert roles is not None
    assert (roles.inputs, roles.target) == (((text,),), summary)


def test_real_news_as_it_stands(real_data) -> None:
    source = open_source(real_data("bbc_news_summary.tar.xz"), ReadOptions(encoding="latin-1"))
    assert len(list(source.examples())) == 2225
