"""fastText lines: one label or several, with commas and quotes; a table stays a table."""

from __future__ import annotations

import pytest
from reading import pairs, write

from filbert.readers.sources import open_source


def test_fasttext(tmp_path):
    path = write(tmp_path, "a.txt", "__label__pos good film\n\n__label__neg bad\n")
    assert pairs(path) == [("good film", "pos"), ("bad", "neg")]
    assert open_source(path).sample_targets() == ["pos", "neg"]


@pytest.mark.parametrize("between", [" ", ",", "\t"])
def test_fasttext_with_several_labels(tmp_path, between):
    path = write(tmp_path, "a.txt", f"__label__a{between}__label__b one two\n__label__a five\n")
    assert pairs(path) == [("one two", '["a", "b"]'), ("five", '["a"]')]
    assert "several labels a line" in open_source(path).found[1]


def test_fasttext_with_commas_after_the_label(tmp_path):
    path = write(tmp_path, "a.txt", '__label__pos,Great room\n__label__neg,"Poor, dirty"\n')
    assert pairs(path) == [("Great room", "pos"), ("Poor, dirty", "neg")]
    some = write(tmp_path, "b.txt", "__label__food,drinks great\n__label__room fine, warm\n")
    assert pairs(some) == [("great", "food,drinks"), ("fine, warm", "room")]


def test_fasttext_quoted(tmp_path):
    path = write(tmp_path, "a.txt", '"__label__pos Good, ""clean"" room"\n__label__neg Dirty\n')
    assert pairs(path) == [('Good, "clean" room', "pos"), ("Dirty", "neg")]


def test_fasttext_labels_in_a_table(tmp_path):
    path = write(tmp_path, "a.csv", 'label,text\n__label__pos,"Great, clean"\n__label__neg,"Cold, dirty"\n')
    assert pairs(path) == [("Great, clean", "__label__pos"), ("Cold, dirty", "__label__neg")]


def test_options_win_over_fasttext(tmp_path):
    path = write(tmp_path, "a.txt", "__label__pos,good\n__label__neg,bad\n")
    assert pairs(path, delimiter="comma", text="2", label="1") == [("good", "__label__pos"), ("bad", "__label__neg")]
