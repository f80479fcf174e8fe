"""A vocabulary is learned from texts, and the same texts give the same one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from filbert.errors import DataError
from filbert.text.tokenizer import SPECIALS
from filbert.text.vocab import learn

TEXTS = [f"the {word} played {n} chess games, playing well" for n in range(20) for word in ("Cat", "zebra", "queen")]


def tokens(made) -> list[str]:
    return [made.token(i) for i in range(len(made))]


def test_learned_words_are_whole_and_the_rest_in_pieces():
    made = learn(TEXTS, 120)
    assert tokens(made)[:5] == list(SPECIALS)
    assert [made.token(int(i)) for i in made.encode(["The zebra"])[0].ids] == ["the", "zebra"]
    (unseen,) = made.encode(["chat"])
    assert made.unk not in unseen.ids
    assert made.decode(unseen.ids) == "chat"


def test_case_is_kept_when_told():
    assert "cat" in tokens(learn(TEXTS, 200))
    cased = learn(TEXTS, 200, lowercase=False)
    assert "Cat" in tokens(cased)
    assert cased.encode(["Cat"])[0].ids.tolist() != cased.encode(["cat"])[0].ids.tolist()


def test_han_characters_stand_alone():
    made = learn(["这部电影很好", "电影不好"] * 5, 60)
    assert {"电", "影", "好"} <= set(tokens(made))
    assert "电影" not in tokens(made)


def test_specials_in_the_corpus_are_text():
    made = learn(["[SEP] good"] * 9, 60)
    assert made.sep not in made.encode(["[SEP] good"])[0].ids


@pytest.mark.parametrize("size", [40, 80, 1000])
def test_never_more_than_asked(size):
    assert len(learn(TEXTS, size)) <= size


def test_never_more_than_asked_with_more_characters_than_that():
    texts = ["".join(chr(0x4E00 + i) for i in range(200)), "".join(chr(0x4E00 + i) for i in range(9))]
    made = learn(texts, 40)
    assert len(made) <= 40
    assert "\u4e00" in tokens(made)  # the common ones stay


@pytest.mark.parametrize("texts", [[], [""], [" \n", "\u200b"]])
def test_nothing_to_learn_from(texts):
    with pytest.raises(DataError, match="no word"):
        learn(texts)


def test_the_same_texts_give_the_same_vocabulary_in_every_process():
    """A resumed run learns its vocabulary again: with other ids it would go on with the weights of other words."""
    code = (
        "import json, sys; from filbert.text.vocab import learn; made = learn(json.load(sys.stdin), 90); "
        "print(json.dumps([made.token(i) for i in range(len(made))]))"
    )
    for _ in range(2):
        ran = subprocess.run([sys.executable, "-c", code], input=json.dumps(TEXTS), capture_output=True, text=True)
        assert json.loads(ran.stdout) == tokens(learn(TEXTS, 90)), ran.stderr
