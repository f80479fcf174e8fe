"""From a file to texts to train, choose and test with: the task found, bad rows kept apart, everything said."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from filbert import tasks
from filbert.errors import ConfigError, DataError
from filbert.finetuning.dataset import dataset_of, read_dataset
from filbert.readers.options import ReadOptions

SINGLE = tasks.named("single-label")


def csv(path: Path, rows: list[str], header: str = "text,label") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def labelled(count: int, classes: str = "01", start: str = "text") -> list[str]:
    return [f"{start} {n},{classes[n % len(classes)]}" for n in range(count)]


# -- files ------------------------------------------------------------------------------------------------------------


def test_files_beside_each_other(tmp_path):
    for name, count in (("a", 10), ("b", 4), ("c", 6)):
        csv(tmp_path / f"{name}.csv", labelled(count, start=f"text {name}"))
    data = read_dataset(tmp_path / "a.csv", validation=tmp_path / "b.csv", test=tmp_path / "c.csv")
    assert [len(part) for part in data.splits.parts.values()] == [10, 4, 6]
    assert "rows: 20 read, 20 accepted, 0 quarantined" in data.found
    assert data.quarantined == 0


def test_quarantine_keeps_the_rows(tmp_path):
    csv(tmp_path / "a.csv", [*labelled(10), "one", ",1", "x,"])
    with pytest.raises(ConfigError, match="rejects"):
        read_dataset(tmp_path / "a.csv", ReadOptions(on_bad_rows="quarantine"))
    kept = tmp_path / "a.rejects.jsonl"
    data = read_dataset(tmp_path / "a.csv", ReadOptions(on_bad_rows="quarantine"), rejects=kept)
    assert "rows: 13 read, 10 accepted, 3 quarantined" in data.found
    assert f"warning: 3 bad rows left out, kept in {kept}" in data.found
    assert data.quarantined == 3
    assert [json.loads(line)["row"] for line in kept.read_text().splitlines()] == ["one\n", ",1\n", "x,\n"]


def test_all_errors_are_counted_and_kept(tmp_path):
    csv(tmp_path / "a.csv", ["good,1", "bad,0", *("short" * (1 + n % 2) for n in range(2000))])
    kept = tmp_path / "a.rejects.jsonl"
    with pytest.raises(DataError, match="and 1,980 more") as caught:
        read_dataset(tmp_path / "a.csv", rejects=kept)
    assert caught.value.total == 2000
    assert len(kept.read_text().splitlines()) == 2000


@pytest.mark.parametrize(("rows", "first", "said"), [(50, "4–53", "50 rows"), (1_500, "4–1003", "1,000 rows")])
def test_D10_empty_rows_one_after_the_other_are_one_finding(tmp_path, rows, first, said):
    csv(tmp_path / "a.csv", ["good,1", "bad,0", *[","] * rows, "fine,1", ",0"])
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path / "a.csv", rejects=tmp_path / "kept")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(f"a.csv:{first} text — is empty or cannot be seen ({said}) — fill it in, or drop the row")
    assert lines[1].endswith(
        f"a.csv:{rows + 5} text — is empty or cannot be seen — fill it in, or drop the row"
        if rows < 99
        else "… and 501 more"
    )
    assert len(lines) == 2
    assert caught.value.total == len((tmp_path / "kept").read_text().splitlines()) == rows + 1


def test_merging_is_said(tmp_path):
    csv(tmp_path / "a.csv", labelled(12, "aAb"))
    data = read_dataset(tmp_path / "a.csv", ReadOptions(merge_labels={"A": "a", "c": "b"}))
    assert "texts with the label 'A' read as 'a': 4" in data.found
    assert "warning: --merge-labels 'c=b' met no such label" in data.found
    assert data.settings.labels == ("a", "b")


def test_a_file_of_held_out_texts_only_has_nothing_to_train_on(tmp_path):
    csv(tmp_path / "a.csv", [f"text {n},{n % 2},test" for n in range(10)], "text,label,split")
    with pytest.raises(DataError, match="no labelled texts to train on"):
        read_dataset(tmp_path / "a.csv")


def test_a_label_that_training_never_met_is_refused_with_its_place(tmp_path):
    csv(tmp_path / "a.csv", labelled(10, "ab"))
    csv(tmp_path / "b.csv", [*labelled(4, "ab", "other"), "new,c", "newer,c"])
    with pytest.raises(DataError, match=r"b\.csv:6 label — the model has no label 'c' \(2 texts\)"):
        read_dataset(tmp_path / "a.csv", test=tmp_path / "b.csv")


def test_the_files_beside_are_read_by_the_columns_of_the_first(tmp_path):
    csv(tmp_path / "a.csv", [f"{n},a text {n},{'ab'[n % 2]}" for n in range(10)], "id,review,stars")
    csv(tmp_path / "b.csv", [f"{'ab'[n % 2]},another {n},{n}" for n in range(4)], "stars,review,id")
    options = ReadOptions(text="review", label="stars")
    data = read_dataset(tmp_path / "a.csv", options, test=tmp_path / "b.csv")
    assert data.splits.test[0].inputs == ("another 0",)
    assert data.columns == {"inputs": [["review"]], "target": [["stars"]]}


# -- which task -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "task", "how"),
    [
        (["good", "bad"], "single-label", "task: one label a text"),
        (["1", "0"], "single-label", "task: one label a text"),
        (["1", "2", "3"], "single-label", "--task regression reads them as numbers"),
        (["a|b", "b", "a"], "multi-label", "task: several labels a text, separated by '|'"),
        (["0.5", "1.25", "2.75"], "regression", "task: a number a text"),
    ],
)
def test_the_task_is_found_from_the_targets_and_said(tmp_path, cells, task, how):
    csv(tmp_path / "a.csv", [f"text {n},{cells[n % len(cells)]}" for n in range(30)])
    data = read_dataset(tmp_path / "a.csv")
    assert task == data.task.NAME
    assert any(how in line for line in data.found)


def test_a_task_that_is_asked_for_is_taken(tmp_path):
    csv(tmp_path / "a.csv", labelled(30, "12345"))
    assert read_dataset(tmp_path / "a.csv", task="regression").splits.train[0].target in (1.0, 2.0, 3.0, 4.0, 5.0)
    with pytest.raises(ConfigError, match="task 'ranking' is unknown — choose one of single-label"):
        read_dataset(tmp_path / "a.csv", task="ranking")


def test_columns_of_0_and_1_are_labels_of_their_own(tmp_path):
    rows = [f"text {n},{n % 2},{int(n % 3 == 0)}" for n in range(30)]
    csv(tmp_path / "a.csv", rows, "text,toxic,insult")
    data = read_dataset(tmp_path / "a.csv", ReadOptions(label="toxic,insult"))
    assert data.task.NAME == "multi-label"
    assert data.settings.labels == ("insult", "toxic")
    assert {row.target for row in data.splits.train} == {(), ("toxic",), ("insult",), ("toxic", "insult")}
    assert data.columns["target"] == [["toxic", "insult"]]


def test_pairs_are_examples_of_two_texts(tmp_path):
    csv(tmp_path / "a.csv", [f"a {n},b {n},{n % 2}" for n in range(20)], "premise,hypothesis,label")
    data = read_dataset(tmp_path / "a.csv")
    assert {len(row.inputs) for row in data.splits.train} == {2}
    assert data.columns["inputs"] == [["premise"], ["hypothesis"]]


# -- Python values ----------------------------------------------------------------------------------------------------


def test_values_are_divided_and_described():
    data = dataset_of([(f"text {n}",) for n in range(40)], ["a", "b"] * 20, SINGLE, seed=1)
    assert data.settings.labels == ("a", "b")
    assert [len(part) for part in data.splits.parts.values()] == [36, 4]
    assert data.facts["label_counts"] == {"train": {"a": 18, "b": 18}, "validation": {"a": 2, "b": 2}}
    assert "labels: 2 ('a', 'b')" in data.found


def test_each_wrong_row_is_named():
    with pytest.raises(DataError) as caught:
        dataset_of([("fine",), (" ",), ("good",), ("x",)], ["a", "b", None, float("nan")], SINGLE)
    assert [str(problem).split(" — ")[0] for problem in caught.value.problems] == ["X:1 text", "y:2 label", "y:3 label"]


def test_a_lone_variant_is_offered_for_merging():
    inputs = [(f"text {n}",) for n in range(11)]
    with pytest.raises(DataError, match='merge it: --merge-labels "A=a"'):
        dataset_of(inputs, [*["a", "b"] * 5, "A"], SINGLE)


def test_warnings_come_last():
    inputs = [(f"text {n % 20}",) for n in range(40)]
    found = dataset_of(inputs, ["a", "b"] * 20, SINGLE).found
    kinds = [line.startswith("warning:") for line in found]
    assert kinds == sorted(kinds)
    assert Counter(kinds)[True] >= 1


def test_a_label_merged_into_nothing_leaves_its_row_out(tmp_path):
    path = tmp_path / "a.csv"
    rows = [f"{label} text {n},{label}" for n in range(4) for label in ("pos", "neg", "nan")]
    path.write_text("\n".join(["text,label", *rows]))
    data = read_dataset(path, ReadOptions(merge_labels={"nan": ""}))
    assert data.settings.labels == ("neg", "pos")
    assert "rows: 8 read, 8 accepted, 0 quarantined" in data.found
    assert "rows left out, as --merge-labels says: 'nan': 4" in data.found
    assert any('--merge-labels "nan="' in line for line in read_dataset(path).found)
