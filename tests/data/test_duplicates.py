"""Repeated texts: which copy belongs to which, and near duplicates without quadratic work."""

from __future__ import annotations

from pathlib import Path

import pytest

from filbert.data.duplicates import near_duplicates, repeats
from filbert.finetuning.dataset import read_parts
from filbert.finetuning.examine import parts_of
from filbert.readers.ledger import Ledger
from filbert.readers.options import ReadOptions
from filbert.records import Example

LONG = "The parcel came on Monday afternoon, but the box was wet, torn and quite empty when we opened it at home."
CHINESE = "房间很干净，服务员也非常热情，早餐的种类很多，下次来这个城市还会住这里。"


def test_each_copy_is_named_with_the_first():
    train = [Example((text,), target) for text, target in (("a b", 1), ("c", 1), ("A  b", 1), ("a b", 1), ("c", 2))]
    found = repeats(train, {"validation": [Example(("x",))], "test": [Example(("C",)), Example(("a b",))]})
    assert found.word_for_word == [(3, 0), (4, 1)]
    assert found.alike == [(2, 0)]
    assert found.contradictory == [[1, 4]]
    assert found.shared == {"test": [(0, 1, False), (1, 0, True)]}


@pytest.mark.parametrize(("text", "other"), [(LONG, LONG.replace("quite ", "")), (CHINESE, CHINESE.replace("也", ""))])
def test_near_duplicates_are_found_in_both_languages(text, other):
    far = " ".join(reversed(text.split())) if " " in text else text[::-1]
    found = near_duplicates([(text * 2,), (far,), (text + other,), (text.upper() * 2,)])
    assert [(one, earlier) for one, earlier, _ in found] == [(2, 0)]  # the upper-case copy is the same text
    assert 0.8 <= found[0][2] < 1


def test_short_texts_are_not_near_each_other():
    assert near_duplicates([("the room was good",), ("the room was bad",)] * 5) == []


def test_a_thousand_form_letters_make_a_thousand_pairs():
    found = near_duplicates([(f"{LONG} {LONG[::-1]} No. {n}",) for n in range(1000)])
    assert len(found) == 999
    assert {earlier for _, earlier, _ in found} == {0}


def shared(folder: Path) -> dict[str, int]:
    """Different texts of each part held out that stand in train word for word."""
    parts = parts_of(read_parts(folder, ReadOptions(), Ledger(), held_out={}))
    met = repeats(parts["train"], {name: part for name, part in parts.items() if name != "train"})
    return {
        name: len({parts[name][at].inputs for at, _, exact in pairs if exact}) for name, pairs in met.shared.items()
    }


def test_real_overlap_of_chnsenticorp(real_data):
    assert shared(real_data("chnsenticorp")) == {"validation": 335, "test": 330}


@pytest.mark.slow
def test_real_overlap_of_imdb(real_data):
    assert shared(real_data("imdb/aclImdb_labeled.tar.xz")) == {"test": 123}
