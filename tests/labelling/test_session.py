"""Labelling: what is asked, saved, taken back and continued; nothing that was answered is lost."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotating import N, Opened, answer, truth, until

from filbert.errors import ConfigError, DataError
from filbert.labelling import choose
from filbert.labelling.work import open_work
from filbert.readers.options import ReadOptions


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_each_answer_is_saved_at_once(opened: Opened, tmp_path: Path) -> None:
    session, out = opened(), tmp_path / "out.csv"
    for n in range(1, 4):
        answer(session)
        saved = rows(out)
        assert len(saved) == n
        assert list(saved[0]) == ["id", "text", "label", "label_from"]
        assert all(row["label"] == truth(row["text"]) and row["label_from"] == "random" for row in saved)
    assert [int(row["id"]) for row in saved] == sorted(int(row["id"]) for row in saved)  # in the order of the file


def test_an_answer_is_taken_back_and_asked_again(opened: Opened, tmp_path: Path) -> None:
    session = opened()
    answer(session, 2)
    last = session.state()["asked"]["id"]
    session.answer(last, "odd")
    session.undo()
    assert session.state()["asked"]["id"] == last
    assert len(rows(tmp_path / "out.csv")) == 2
    session.answer(last, "even")
    assert [row["label"] for row in rows(tmp_path / "out.csv") if int(row["id"]) == last] == ["even"]
    for _ in range(3):
        session.undo()
    assert rows(tmp_path / "out.csv") == []
    with pytest.raises(ConfigError, match="no answer to take back"):
        session.undo()


def test_a_skipped_text_is_not_asked_again(opened: Opened) -> None:
    session = opened()
    skipped = session.state()["asked"]["id"]
    session.skip(skipped)
    seen = set()
    while (asked := session.state()["asked"]) is not None:
        seen.add(asked["id"])
        session.answer(asked["id"], "odd")
    assert seen == set(range(N)) - {skipped}


@pytest.mark.parametrize(
    ("number", "label", "match"), [(0, "odd", "not the one"), (None, "other", "not one of them — choose even, odd")]
)
def test_a_wrong_answer_changes_nothing(opened: Opened, number: int | None, label: str, match: str) -> None:
    session = opened()
    asked = session.state()["asked"]["id"]
    with pytest.raises(ConfigError, match=match):
        session.answer(asked + 1 if number == 0 else asked, label)
    assert session.state()["asked"]["id"] == asked
    assert session.state()["labelled"] == 0


def test_an_answer_that_cannot_be_saved_is_not_kept(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    session = opened()
    answer(session, 2)
    asked = session.state()["asked"]["id"]

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(session.work), "save", full)
    with pytest.raises(OSError, match="No space"):
        session.answer(asked, "odd")
    with pytest.raises(OSError, match="No space"):
        session.undo()
    monkeypatch.undo()
    assert session.state()["asked"]["id"] == asked
    assert session.state()["labelled"] == len(rows(tmp_path / "out.csv")) == 2
    answer(session)
    assert len(rows(tmp_path / "out.csv")) == 3


def test_work_is_continued(opened: Opened, tmp_path: Path, texts: Path) -> None:
    answer(opened(), 5)
    before = rows(tmp_path / "out.csv")
    again = opened(labels=())  # the labels are in the output
    assert again.state()["labelled"] == 5
    answer(again)
    assert [row for row in rows(tmp_path / "out.csv") if row in before] == before
    (tmp_path / "foreign.csv").write_text("text,label,label_from\nanother text,even,random\ntext two,odd,random\n")
    with pytest.raises(ConfigError, match="no file of labels for these texts"):
        open_work(str(texts), tmp_path / "foreign.csv", ["even", "odd"], ReadOptions())
    (tmp_path / "foreign.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(ConfigError, match="cannot be continued"):
        open_work(str(texts), tmp_path / "foreign.csv", ["even", "odd"], ReadOptions())


def test_labels_of_the_file_are_kept_and_each_text_is_asked_once(opened: Opened, tmp_path: Path) -> None:
    file = tmp_path / "half.csv"
    file.write_text("text,label\n" + "".join(f"text {i % 20} x,{'odd' if i % 2 else ''}\n" for i in range(40)))
    session = opened(file, labels=["even"])
    assert session.state()["texts"] == 20
    assert [each["name"] for each in session.state()["labels"]] == ["even", "odd"]
    assert session.state()["labelled"] == 10
    asked = 0
    while session.state()["asked"] is not None:
        asked += len(answer(session))
    assert asked == 10
    saved = rows(tmp_path / "out.csv")
    assert len(saved) == 20
    assert {row["label_from"] for row in saved if row["label"] == "odd"} == {"file"}


def test_too_few_labels_and_no_texts_are_said(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fewer than two labels"):
        open_work(str(texts), tmp_path / "out.csv", ["even"], ReadOptions())
    (tmp_path / "empty.csv").write_text('text,id\n" ",1\n')
    with pytest.raises(DataError, match="hold no text"):
        open_work(str(tmp_path / "empty.csv"), tmp_path / "out.csv", ["a", "b"], ReadOptions())


def test_the_unsure_are_asked_and_the_accuracy_is_of_random_ones(opened: Opened) -> None:
    session = opened(share=0.25)
    session.start()
    answer(session, 16)
    until(session, lambda: session.state()["ready"] == N and bool(session.state()["curve"]))
    why = answer(session, 16)
    assert 4 <= why.count("random") <= 6  # an unsure text may be the next random one, too
    assert why.count("unsure") == 16 - why.count("random")
    until(session, lambda: session.curve[-1].labels == 32)
    last = session.curve[-1]
    assert choose.FEWEST <= last.tested < 32
    assert last.low <= last.accuracy <= last.high
    assert last.accuracy > 0.95  # the vectors say it all
    chances = session.state()["asked"]["chances"]
    assert set(chances) == {"even", "odd"}


def test_reviewing_begins_with_the_wrong_labels(opened: Opened, tmp_path: Path) -> None:
    wrong = {3, 14, 15, 50}
    file = tmp_path / "all.csv"
    labels = [("even", "odd")[(i % 2) ^ (i in wrong)] for i in range(N)]
    file.write_text("text,label\n" + "".join(f"text {i} x,{label}\n" for i, label in enumerate(labels)))
    with pytest.raises(ConfigError, match="every text has a label already"):
        opened(file)
    session = opened(file, review=True)
    session.start()
    session.state()
    until(session, lambda: session.state()["ready"] == N and len(session._suspicion) == N)
    session.skip(session.state()["asked"]["id"])  # chosen before anything was known
    found = set()
    for _ in range(4):
        asked = session.state()["asked"]
        found.add(int(asked["texts"][0]["text"].split()[1]))
        assert asked["given"]
        session.answer(asked["id"], truth(asked["texts"][0]["text"]))
    assert len(found & wrong) >= 3
    saved = rows(tmp_path / "out.csv")
    assert len(saved) == N  # corrected, and whole
    assert sum(row["label_from"] == "review" for row in saved) == len(found & wrong)


def test_labels_are_added(opened: Opened) -> None:
    session = opened()
    session.add_label(" 中性 ")
    assert [each["name"] for each in session.state()["labels"]] == ["even", "odd", "中性"]
    for bad in ("", "\u200b", "odd"):
        with pytest.raises(ConfigError):
            session.add_label(bad)


def test_fine_tuning_needs_texts_of_two_labels(opened: Opened) -> None:
    session = opened()
    answer(session, 4)
    with pytest.raises(ConfigError, match="8 texts of two labels"):
        session.finetune()


def test_fine_tuning_that_fails_is_said(opened: Opened) -> None:
    session = opened(base="no-such-base")
    answer(session, 40)
    session.finetune()
    until(session, lambda: not session.state()["training"]["running"], 120)
    assert "no-such-base" in session.state()["training"]["wrong"]
    session.finetune()  # may be tried again


@pytest.mark.slow
def test_fine_tuning_ends_in_a_model_that_chooses(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "out-model").mkdir()  # somebody's: never replaced
    session = opened(base="filbert-mini", share=0.0)
    answer(session, 40)
    session.start()
    session.finetune()
    with pytest.raises(ConfigError, match="running already"):
        session.finetune()
    until(session, lambda: not session.state()["training"]["running"], 600)
    told: dict[str, Any] = session.state()["training"]
    assert not told["wrong"]
    assert told["done"]["low"] <= told["done"]["value"] <= told["done"]["high"]
    assert told["folder"] == str(tmp_path / "out-model-2")
    assert (tmp_path / "out-model-2" / "report.html").is_file()
    until(session, lambda: session.finetuning.fresh(40, 1.25))


def test_the_random_order_is_a_fair_sample() -> None:
    """However the unsure ones were chosen, the sample has as many of each kind as the file."""
    shares = []
    for seed in range(200):
        queue, taken = choose.Queue(100, share=0.5, seed=seed), set[int]()
        for _ in range(40):
            found = queue.next(taken, range(100))  # unsure of the first ones
            assert found is not None
            taken.add(found[0])
        sample = queue.sample(taken)
        assert sample <= taken
        shares.append(np.mean([i < 50 for i in sample]))
    assert abs(np.mean(shares) - 0.5) < 0.02
