"""A vocabulary is learned from texts, and the same texts give the same one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from filbert.errors import ConfigError, DataError
from filbert.text import vocab
from filbert.text.tokenizer import SPECIALS, Tokenizer
from filbert.text.vocab import learn, unknown_share

TEXTS = [
    f"the {word} played {n} chess games, playing well 😀x" for n in range(20) for word in ("Cat", "zebra", "queen")
]


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


class Stream:
    """Texts made anew at each pass, never held together."""

    passes = 0

    def __iter__(self) -> Iterator[str]:
        self.passes += 1
        yield from TEXTS


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, float, float]] = []

    def say(self, text: str) -> None:
        raise AssertionError(text)

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        self.seen.append((stage, done, total))


def test_a_stream_is_read_twice_and_gives_the_same_as_a_list():
    stream = Stream()
    assert tokens(learn(stream, 120)) == tokens(learn(TEXTS, 120))
    assert stream.passes == 2


def test_of_a_large_corpus_every_so_manyth_text_is_learned_from(monkeypatch):
    texts = ["apple apple", "grape grape", "lemon lemon"] * 20
    monkeypatch.setattr(vocab, "MAX_CHARACTERS", sum(map(len, texts)) / 2.5)
    made = learn(texts, 60)
    assert "apple" in tokens(made)
    assert not {"grape", "lemon"} & {*tokens(made)}
    assert made.unk not in made.encode(["grape lemon"])[0].ids  # characters are counted in all texts


def test_an_iterator_is_refused():
    with pytest.raises(ConfigError, match="iterator"):
        learn(iter(TEXTS), 120)


def test_progress_is_told():
    watch = Recorder()
    learn(["one text"] * 2500, 60, watch=watch)
    assert [done for stage, done, _ in watch.seen if stage == "counting characters"] == [0, 1000, 2000]
    assert [told[1:] for told in watch.seen if told[0] == "learning word pieces"] == [
        (0, 2500),
        (1000, 2500),
        (2000, 2500),
    ]


@pytest.mark.parametrize(
    ("lowercase", "accents", "pieces"),
    [(True, None, {"creme"}), (True, False, {"crème"}), (False, None, {"Crème"}), (False, True, {"Creme"})],
)
def test_the_rules_travel_with_the_tokenizer(tmp_path, lowercase, accents, pieces):
    made = learn(["Crème Crème"] * 9, 60, lowercase=lowercase, strip_accents=accents)
    assert [made.token(int(i)) for i in made.encode(["Crème"])[0].ids] == list(pieces)
    assert made.settings == {"do_lower_case": lowercase, "strip_accents": accents, "tokenize_chinese_chars": True}
    made.save(tmp_path, 64)
    assert Tokenizer.from_folder(tmp_path).settings == made.settings


def test_a_large_language_leaves_room_for_a_small_one():
    han = [chr(0x4E00 + i) for i in range(100)]
    english = [f"word{chr(97 + i % 26)}{chr(97 + i // 26 % 26)} more" for i in range(676)] * 30
    made = learn([*english, *("".join(han) for _ in range(5))], 600)
    assert set(han) <= set(tokens(made))
    assert {"word", "more"} & set(tokens(made))


def test_the_rarest_characters_of_each_kind_are_left_out():
    common = "".join(chr(0x4E00 + i) for i in range(50))
    made = learn([common + " abc"] * 100 + ["龘 abc"], 400)
    assert made.unk in made.encode(["龘"])[0].ids  # one of 5,001
    assert made.unk not in made.encode([common + " abc"])[0].ids


def test_lone_surrogates_are_left_out():
    assert tokens(learn([text + " \ud800" for text in TEXTS], 90)) == tokens(learn(TEXTS, 90))


def test_emoji_and_symbols_inside_words_have_pieces_of_their_own():
    made = learn(["a😀b 5€ x_y"] * 9, 80)
    assert {"😀", "##😀", "€", "##€", "_"} <= set(tokens(made))
    assert "##_" not in tokens(made)  # punctuation always stands alone


def test_characters_fill_what_words_leave():
    han = [chr(0x4E00 + n) for n in range(120)]
    made = learn(["".join(han) + "。"] * 3, 150)
    assert len(made) == 5 + 120 + 1
    assert unknown_share(made, ["".join(han)]) == 0
    mixed = learn(["".join(han) + " the cat sat on the mat"] * 9, 60)
    assert len(mixed) == 60
    assert 0 < unknown_share(mixed, ["".join(han)]) < 1
