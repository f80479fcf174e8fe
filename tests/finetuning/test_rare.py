"""--rare-labels: labels of too few texts are refused by name, left out or joined, in all parts alike."""

from __future__ import annotations

import pytest
from command import TRAIN, Run, write_texts

from filbert import tasks
from filbert.errors import ConfigError, DataError
from filbert.finetuning.dataset import read_dataset
from filbert.finetuning.rare import parsed, without_rare
from filbert.records import Example


def tailed(path, count=40, rare=9):
    write_texts(path, count)
    with path.open("a") as file:
        file.writelines(f"a strange film {n},rare {n}\n" for n in range(rare))
    return path


def labels(data):
    return {name: sorted({example.target for example in part}) for name, part in data.splits.parts.items()}


def test_D11_rare_labels_are_refused_and_the_option_is_named(tmp_path):
    with pytest.raises(DataError, match=r"one text for training.*--rare-labels drop") as caught:
        read_dataset(tailed(tmp_path / "a.csv", rare=2))
    assert len(caught.value.problems) == 2
    with pytest.raises(DataError, match=r"9 of 11 different labels stand at one text each.*--rare-labels"):
        read_dataset(tailed(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("told", "left", "kept"), [("drop", 40, ["neg", "pos"]), ("other", 49, ["neg", "other", "pos"])]
)
def test_rare_labels_are_dropped_or_joined(tmp_path, told, left, kept):
    data = read_dataset(tailed(tmp_path / "a.csv"), rare=told)
    assert sum(map(len, data.splits.parts.values())) == left
    assert list(data.settings.labels) == kept
    (line,) = [line for line in data.found if "of fewer than" in line]
    assert line.startswith("9 labels of fewer than 2 training texts")
    assert "with 9 texts: 'rare 0', 'rare 1'" in line


def test_a_number_says_what_is_rare(tmp_path):
    path = tailed(tmp_path / "a.csv", rare=0)
    with path.open("a") as file:
        file.writelines(f"a strange film {n},odd\n" for n in range(7))
    assert "odd" in read_dataset(path, rare="drop").settings.labels
    assert "odd" not in read_dataset(path, rare="drop:8").settings.labels


def test_a_test_part_loses_the_same_labels(tmp_path):
    given = tailed(tmp_path / "test.csv", count=10, rare=12)
    for told, count in (("drop", 10), ("other", 22)):
        data = read_dataset(tailed(tmp_path / "a.csv"), test=given, rare=told)
        assert len(data.splits.test) == count, "three of them are in no training text at all"
        assert labels(data)["test"] == (["neg", "pos"] if told == "drop" else ["neg", "other", "pos"])


def test_several_labels_a_text_lose_the_rare_ones():
    task = tasks.named("multi-label")
    targets = [("a", "b"), ("a", "x"), ("y",), (), ("b", "x", "a")] + [("a",), ("b",)] * 2
    part = [Example((f"text {n}",), target) for n, target in enumerate(targets)]
    dropped, _ = without_rare(task, {"train": part}, "drop:3")
    assert [example.target for example in dropped["train"]][:4] == [("a", "b"), ("a",), (), ("b", "a")]
    joined, _ = without_rare(task, {"train": part}, "other:3")
    assert [example.target for example in joined["train"]][:5] == [
        ("a", "b"),
        ("a", "other"),
        ("other",),
        (),
        ("b", "other", "a"),
    ]


def test_numbers_have_no_rare_labels():
    part = [Example((f"text {n}",), float(n)) for n in range(9)]
    with pytest.raises(ConfigError, match="are no labels"):
        without_rare(tasks.named("regression"), {"train": part}, "drop")
    with pytest.raises(ConfigError, match="are no labels"):
        without_rare(tasks.named("summarization"), {"train": [Example(("a text",), "a")]}, "drop")


@pytest.mark.parametrize("told", ["", "none", "drop:1", "drop:", "other:x"])
def test_what_the_option_cannot_be(told):
    with pytest.raises(ConfigError, match="--rare-labels"):
        parsed(told)


def test_the_command_takes_it(run: Run, tmp_path):
    path = tailed(tmp_path / "a.csv")
    assert run("fit", path, *TRAIN, "--no-baseline", "-o", "m").code == 2
    ran = run("fit", path, *TRAIN, "--no-baseline", "-o", "m", "--rare-labels", "other", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["labels"] == ["neg", "other", "pos"]
    assert "read as 'other'" in ran.err
