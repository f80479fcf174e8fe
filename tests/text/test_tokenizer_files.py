"""Tokenizer files of strangers: parts that multiply, never end or panic, numbers that do not fit, lost lines."""

from __future__ import annotations

import json
import random

import pytest
from small import VOCAB, tokenizer

from filbert.errors import ModelError
from filbert.text import tokenizer as module
from filbert.text.tokenizer import Tokenizer, grouped


def changed(folder, **fields):
    tokenizer().save(folder, 64)
    (folder / "vocab.txt").unlink()
    file = folder / "tokenizer.json"
    told = json.loads(file.read_text())
    told["model"] |= fields.pop("model", {})
    file.write_text(json.dumps(told | fields))
    return folder


REPLACE = {"type": "Replace", "pattern": {"String": "a"}, "content": "ab" * 1000}
SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"normalizer": REPLACE}, "normalizer — is 'Replace'"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, REPLACE]}}, "normalizer — is 'Replace'"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="}}, "normalizer — is 'Precompiled'"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 99}}, "normalizer — is 'Sequence'"),
        ({"normalizer": 5}, "normalizer — is 5"),
        ({"pre_tokenizer": SPLIT}, "pre_tokenizer — is 'Split'"),
        ({"decoder": {"type": "ByteLevel"}}, "decoder — is 'ByteLevel'"),
        ({"model": {"max_input_chars_per_word": 10**9}}, "max_input_chars_per_word — is 1000000000"),
        ({"model": {"continuing_subword_prefix": "#" * 99}}, "continuing_subword_prefix"),
        ({"model": {"vocab": {"[PAD]": 0, "a": 0}}}, "have the same id, 0"),
        ({"model": {"vocab": {word: 3 * i for i, word in enumerate(VOCAB)}}}, "twice"),
        ({"model": {"vocab": {"a": 7}}, "added_tokens": None}, "should be numbered from 0; 'a' has 7"),
        ({"model": {"vocab": {"a": True}}, "added_tokens": None}, "'a' has True"),
        ({"added_tokens": [{"id": 4_000_000_000, "content": "x"}]}, "'x' has 4000000000"),
        ({"added_tokens": [5]}, "does not map tokens to ids"),
    ],
)
def test_M36_parts_that_no_bert_has_are_refused(tmp_path, fields, said):
    with pytest.raises(ModelError, match=said):
        Tokenizer.from_folder(changed(tmp_path, **fields))


def test_parts_that_berts_have_are_read(tmp_path):
    steps = [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]
    made = changed(
        tmp_path, normalizer={"type": "Sequence", "normalizers": steps}, pre_tokenizer={"type": "Whitespace"}
    )
    assert Tokenizer.from_folder(made).encode(["Göod film"])[0].ids.tolist() == [5, 7]


def test_a_byte_order_mark_is_named(tmp_path):
    (tmp_path / "vocab.txt").write_text("\ufeff" + "\n".join(VOCAB))
    with pytest.raises(ModelError, match=r"vocab\.txt — begins with a byte order mark"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("han", [True, False])
def test_a_long_text_cut_in_parts_has_the_ids_and_offsets_of_the_whole(monkeypatch, han):
    words = Tokenizer.from_vocab([*VOCAB, "好", "坏", "##坏", "e", "-", "."], han=han)
    chance = random.Random(0)
    signs = [*"ab good film.-!好坏é\u0301\n\t\x1c\u00a0\u200d ", "x" * 50, "y" * 130]
    for _ in range(200):
        text = "".join(chance.choice(signs) for _ in range(chance.randint(1, 600)))
        monkeypatch.setattr(module, "BATCH_CHARACTERS", 10**9)
        whole = words.encode(["a", text, "film"], offsets=True)
        monkeypatch.setattr(module, "BATCH_CHARACTERS", 120)
        for one, other in zip(whole, words.encode(["a", text, "film"], offsets=True), strict=True):
            assert one.ids.tolist() == other.ids.tolist()
            assert one.offsets.tolist() == other.offsets.tolist()


def test_a_word_without_end_is_one_unknown_token(monkeypatch):
    monkeypatch.setattr(module, "BATCH_CHARACTERS", 200)
    (found,) = tokenizer().encode(["good " + "x" * 5_000 + " film"], offsets=True)
    assert found.ids.tolist() == [5, 1, 7]
    assert found.offsets.tolist() == [[0, 4], [5, 5_005], [5_006, 5_010]]


def test_groups_keep_to_both_limits():
    assert list(grouped([1, 1, 1, 5, 2], int, 3, 2)) == [[1, 1], [1], [5], [2]]
    assert list(grouped([], int, 3)) == []
