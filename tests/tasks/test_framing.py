"""One text or two between special tokens: what fits is whole, what does not is cut as it was always cut."""

from __future__ import annotations

import numpy as np
import pytest
from small import VOCAB, tokenizer
from transformers import BertTokenizerFast

from filbert.records import Encoding, Features
from filbert.tasks.framing import framed, longest_first, only_window, special_tokens


def encoding(length: int) -> Encoding:
    return Encoding(np.arange(100, 100 + length, dtype=np.int32), np.empty((0, 2), np.int32))


def one(length: int, longest: int) -> Features:
    return framed([encoding(length)], tokenizer(), longest)


# -- one text ---------------------------------------------------------------------------------------------------------


def test_a_text_is_framed():
    row = framed(tokenizer().encode(["a badly film"]), tokenizer(), 16, target=2)
    assert row.ids.tolist() == [2, 10, 6, 9, 7, 3]
    assert row.segments.tolist() == [0] * 6
    assert (row.target, row.cut, row.ids.dtype) == (2, 0, np.int32)


@pytest.mark.parametrize("length", [0, 1, 13, 14])
def test_a_text_that_fits_is_whole(length):
    row = one(length, 16)
    assert row.ids.tolist() == [2, *range(100, 100 + length), 3]
    assert (row.cut, row.target) == (0, None)


@pytest.mark.parametrize("length", [15, 16, 200])
def test_a_long_text_keeps_head_and_tail(length):
    row = one(length, 16)
    head, tail = range(100, 103), range(100 + length - 11, 100 + length)  # 14 places: a quarter, and the rest
    assert row.ids.tolist() == [2, *head, *tail, 3]
    assert row.cut == length - 14


@pytest.mark.parametrize("longest", range(8, 40))
def test_a_cut_text_is_exactly_as_long_as_allowed(longest):
    row = one(1000, longest)
    assert len(row) == longest
    assert row.cut == 1000 - (longest - 2)
    assert len(set(row.ids.tolist())) == longest  # nothing stands there twice


# -- two texts --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(tmp_path_factory) -> BertTokenizerFast:
    path = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    path.write_text("\n".join(VOCAB) + "\n", encoding="utf-8")
    return BertTokenizerFast(str(path), do_lower_case=True)


def text(random: np.random.Generator, words: int) -> str:
    return " ".join(random.choice(["good", "bad", "film", "not", "badly", "a", "zebra"], words))


def same(pair: tuple[str, str], longest: int, theirs: BertTokenizerFast) -> None:
    row = framed(tokenizer().encode(pair), tokenizer(), longest)
    expected = theirs(*pair, truncation="longest_first", max_length=longest)
    assert row.ids.tolist() == expected["input_ids"], (pair, longest)
    assert row.segments.tolist() == expected["token_type_ids"]
    whole = theirs(*pair)["input_ids"]
    assert row.cut == len(whole) - len(row)


def test_pairs_are_framed_and_cut_as_transformers_does(theirs):
    random = np.random.default_rng(0)
    for _ in range(400):
        one, two, longest = random.integers(1, 30), random.integers(1, 30), int(random.integers(5, 48))
        same((text(random, one), text(random, two)), longest, theirs)


@pytest.mark.parametrize("words", [1, 4, 9, 20])
@pytest.mark.parametrize("longest", range(5, 24))
def test_pairs_of_equal_length_are_cut_as_transformers_does(theirs, words, longest):
    """Where nothing says which is longer: an odd place goes to the same one of the two."""
    same((" ".join(["good"] * words), " ".join(["film"] * words)), longest, theirs)


def test_a_pair_keeps_its_target():
    row = framed([encoding(2), encoding(3)], tokenizer(), 16, target=np.array([0.0, 1.0]))
    assert row.target.tolist() == [0, 1]
    assert row.ids.dtype == row.segments.dtype == np.int32


@pytest.mark.parametrize(("a", "b", "room"), [(0, 9, 4), (9, 0, 4), (3, 3, 6), (5, 5, 0), (7, 2, 5)])
def test_longest_first_never_gives_more_than_there_is_nor_than_fits(a, b, room):
    left_a, left_b = longest_first(a, b, room)
    assert 0 <= left_a <= a
    assert 0 <= left_b <= b
    assert left_a + left_b == min(room, a + b)


# -- windows ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [1, 2])
def test_the_frame_is_as_long_as_it_says(texts):
    row = framed([encoding(3)] * texts, tokenizer(), 64)
    assert len(row) == 3 * texts + special_tokens(texts)


def test_only_window_of_none():
    assert only_window([]).shape == (0, 0)
    assert only_window(np.zeros((2, 1, 3))).shape == (2, 3)
