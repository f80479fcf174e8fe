"""Labels as strings: kept apart, in a fixed order, compared, counted, refused where nothing can be learned."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from typing import Any

import pytest

from filbert.errors import DataError, LeftOut, Place, Refusal
from filbert.records import Example
from filbert.tasks import multi_label
from filbert.tasks.labels import (
    MISTAKE_CHARACTERS,
    check_classes,
    counted_unknown,
    label_in,
    label_of,
    labels_of_settings,
    merge_notes,
    merge_option,
    missing_lines,
    passage,
    refuse_other_heads,
    same_key,
    saved_labels,
    sort_labels,
    variant_lines,
    variants,
    whole_numbers,
)


def test_labels_are_sorted_by_value_or_code_point():
    assert sort_labels(["10", "9", "-1"]) == ("-1", "9", "10")
    assert sort_labels(["b", "1", "B", "é"]) == ("1", "B", "b", "é")
    assert sort_labels(["01", "1", "1"]) == ("01", "1")


# -- variants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pos", "Pos"),
        ("pos", " pos "),
        ("Ｐｏｓ", "pos"),
        ("very  good", "very good"),
        ("1", "01"),
        ("1", "1.0"),
        ("a\u200bb", "ab"),
        ("strasse", "straße"),
    ],
)
def test_D09_what_looks_like_one_label(one, other):
    assert same_key(one) == same_key(other)


@pytest.mark.parametrize(("one", "other"), [("1", "1.5"), ("pos", "neg"), ("1", "-1"), ("好", "差"), ("1.0a", "1a")])
def test_D09_what_does_not(one, other):
    assert same_key(one) != same_key(other)


def test_D09_the_usual_spelling_comes_first_and_each_is_offered():
    counts = {"Pos": 1, "pos": 9, "POS": 2, "neg": 5}
    assert variants(counts) == [("pos", ["POS", "Pos"])]
    [line] = variant_lines(counts)
    assert line.startswith("warning: labels that look alike were kept apart: 'pos' (9), 'POS' (2), 'Pos' (1)")
    assert line.endswith('--merge-labels "POS=pos" --merge-labels "Pos=pos"')


@pytest.mark.parametrize(
    ("label", "option"),
    [
        ("$HOME", r'--merge-labels "\$HOME=x"'),
        ("a`b", r'--merge-labels "a\`b=x"'),
        ('a"b', r'--merge-labels "a\"b=x"'),
        ("a\tb", r"--merge-labels $'a\tb=x'"),
        ("übel 好", '--merge-labels "übel 好=x"'),
        ("好\u3000评\xa0", r"--merge-labels $'好\u3000评\u00a0=x'"),
        ("it's\u200b", r"--merge-labels $'it\'s\u200b=x'"),
        ("a\\b\U000e0001", r"--merge-labels $'a\\b\U000e0001=x'"),
    ],
)
def test_S44_an_option_can_be_pasted_into_a_shell(label, option):
    assert merge_option(label, "x") == option
    if shutil.which("bash"):
        script = f"printf %s {option.split(' ', 1)[1]}"
        told = subprocess.run(["bash", "-c", script], capture_output=True, env={"LC_ALL": "C.UTF-8", "HOME": "/"})
        assert told.stdout.decode() == f"{label}=x"


def test_labels_with_odd_blanks_can_be_read():
    (line,) = variant_lines({"好评": 9, "好评\u3000": 1})
    assert "'好评' (9), '好评\\u3000' (1)" in line


def test_merges_are_counted_and_those_that_met_nothing_are_warned_about():
    assert merge_notes({"Pos": "pos", "NEG": "neg"}, Counter({"Pos": 3})) == [
        "texts with the label 'Pos' read as 'pos': 3",
        "warning: --merge-labels 'NEG=neg' met no such label",
    ]


# -- classes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("", "there is no labelled text"),
        ("aaa", "there is only the class 'a'"),
        (
            "aabbc",
            "the class 'c' has one text for training — add texts of it, merge it: .*, or --rare-labels drop",
        ),
        ("aabbA", "the class 'A' has one text .* — merge it: --merge-labels \"A=a\""),
        ("abcdefgh", r"8 of 8 different labels stand at one text each, 'a' first — check that --label"),
        ("12345678", "numbers: --task regression; else check that --label is the right column"),
    ],
    ids=["none", "one", "lone", "lone variant", "all lone", "numbers"],
)
def test_D11_classes_that_cannot_be_learned(labels, said):
    with pytest.raises(DataError, match=said):
        check_classes(Counter(labels), "a.csv")


def test_D11_two_texts_of_each_of_two_classes_are_enough():
    check_classes(Counter("aabb"), "a.csv")


def test_D11_every_unknown_label_is_named_once_with_its_count():
    seen = [(Place("t.csv", n + 2), label) for n, label in enumerate(["x", "pos", "y", "x"])]
    found = counted_unknown(seen, ["neg", "pos"])
    assert [(str(each.place), each.wrong) for each in found] == [
        ("t.csv:2", "the model has no label 'x' (2 texts)"),
        ("t.csv:4", "the model has no label 'y' (1 text)"),
    ]
    assert counted_unknown([(Place("t.csv"), "pos")], ["neg", "pos"]) == []
    [many] = counted_unknown([(Place("t.csv"), "x")], [f"label {n}" for n in range(50)])
    assert many.todo.endswith("'label 19' …")


def test_whole_numbers():
    assert whole_numbers(["-3", "+4", "5"])
    assert not whole_numbers(["1.5", "2"])


# -- saved ------------------------------------------------------------------------------------------------------------


def test_M36_labels_are_numbered_from_0():
    assert saved_labels({"id2label": {"1": "b", "0": "a"}}) == ("a", "b")
    bad: list[Any] = [{}, {"id2label": {}}, {"id2label": {"1": "a"}}, {"id2label": ["a"]}, {"id2label": {"a": "0"}}]
    bad.append({"id2label": {"0": "a", "1": "a"}})
    for config in bad:
        with pytest.raises(ValueError, match=r"config\.json id2label"):
            saved_labels(config)


@pytest.mark.parametrize("labels", [None, [], "ab", 3, {"0": "a"}])
def test_M37_labels_of_a_manifest_are_a_list(labels):
    with pytest.raises(ValueError, match=r"filbert\.json settings — labels are"):
        labels_of_settings({"labels": labels})
    assert labels_of_settings({"labels": ["a", 1]}) == ("a", "1")


def test_a_model_with_another_head_is_refused():
    refuse_other_heads({})
    refuse_other_heads({"architectures": ["BertForSequenceClassification"]})
    with pytest.raises(ValueError, match="BertForTokenClassification"):
        refuse_other_heads({"architectures": ["BertForTokenClassification"]})


# -- passages ---------------------------------------------------------------------------------------------------------


def test_a_passage_has_its_place_and_no_more_than_2000_characters():
    found = passage(Example(("x" * 9000, "short"), "a", Place("a.csv", 4)))
    assert len(found["text"]) == MISTAKE_CHARACTERS == 2000
    assert found["text"].endswith("…")
    assert (found["text_pair"], found["place"]) == ("short", "a.csv:4")
    assert passage(Example(("x" * 2000,))) == {"text": "x" * 2000, "place": "memory"}


def test_labels_that_stand_for_none_are_said_with_what_leaves_them_out():
    (line,) = missing_lines({"pos": 9, "nan": 2, "N/A": 1})
    assert "'nan' (2), 'N/A' (1)" in line
    assert '--merge-labels "nan=" --merge-labels "N/A="' in line
    assert missing_lines({"pos": 9, "neg": 1}) == missing_lines({"none": 3, "null": 1}) == []


def test_a_label_as_long_as_a_text_and_classes_without_number_are_refused():
    for read in (
        lambda label: label_in(label, {}, Counter()),
        label_of,
        lambda label: multi_label.read([], {}).parse(label),
    ):
        assert read("x" * 1_000) in ("x" * 1_000, ("x" * 1_000,))
        with pytest.raises(Refusal, match="has 1,001 characters, as texts have"):
            read("x" * 1_001)
    check_classes(Counter({str(n): 2 for n in range(5_000)}), "a.csv")
    with pytest.raises(DataError, match="there are 5,001 classes"):
        check_classes(Counter({str(n): 2 for n in range(5_001)}), "a.csv")


def test_of_several_labels_one_merged_into_nothing_is_dropped_and_a_row_of_no_other():
    parse = multi_label.read(["a|nan", "b|a", "a|b"], {"nan": ""}).parse
    assert parse("a|nan") == ("a",)
    with pytest.raises(LeftOut):
        parse("nan")
