"""The tokenizer gives the ids of `transformers`, with offsets into the text as it was typed."""

from __future__ import annotations

import json
import unicodedata

import numpy as np
import pytest
from small import VOCAB, needs_minilm, reviews, tokenizer
from transformers import AutoTokenizer, BertTokenizerFast

from filbert.bases.find import find_base
from filbert.errors import ModelError
from filbert.text.tokenizer import SPECIALS, Tokenizer, uncased

NASTY = {
    "nothing": "",
    "blanks": " \t\r\n\u00a0\u3000 ",
    "accents": "Crème brûlée à la façade — naïve Ångström, ÉCOLE, ﬁancé, İstanbul ǆ ẞ",
    "accents apart": "Cre\u0300me bru\u0302le\u0301e n\u0303 \u0301",
    "emoji": "great 👍🏽 film 👨‍👩‍👧‍👦 ❤️🇩🇪 !",
    "control characters": "a\x00b\x01c\x7f d\ufffde\u0085f\u2028g\u2029h\x1b[31m",
    "zero width and bidi": "fi\u200blm \u200f\u202eevil\u202c \ufeffgood\u00adly \u2060x",
    "rare Han": "𠮷野家で𪚥を食べる 㐀 豈 𫠝",
    "Chinese": "这部电影真的很好看，我给十分！ＡＢＣ１２３",
    "other scripts": "Привет мир שלום עולם مرحبا हिन्दी ไทย 한국어 ελληνικά",
    "200 letters": "a" * 200 + " film " + "b" * 100 + " " + "c" * 101,
    "special tokens": "[SEP] [CLS]good[MASK] [PAD] [UNK] [sep] [ SEP ] [SEP][SEP]",
    "punctuation": "don't—stop... $5,000.00 (e.g. #1) `x` ~ ^ | <br /><br /> http://a.b/c?d=e&f",
    "full width and ligatures": "Ｆｉｌｍ ﬀ Ⅳ ½ ² ™ ª",
    "word joined to Han": "film电影good",
    "numbers": "1234567890 3.14 1e-5 ٣٤ ௧",
}


def theirs(backend, texts: list[str]) -> list[list[int]]:
    return backend(texts, add_special_tokens=False, split_special_tokens=True, truncation=False)["input_ids"]


def ours(made: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [one.ids.tolist() for one in made.encode(texts)]


@pytest.fixture(scope="module")
def minilm() -> Tokenizer:
    return Tokenizer.from_folder(find_base("minilm").folder)


@pytest.fixture(scope="module")
def their_minilm():
    return AutoTokenizer.from_pretrained(find_base("minilm").folder)


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_longest_piece_first():
    assert ours(tokenizer(), ["A badly GOOD film, notgood"]) == [[10, 6, 9, 5, 7, 1, 1]]


def test_offsets_by_hand():
    (one,) = tokenizer().encode(["  Bádly\tfilm"], offsets=True)
    assert one.ids.tolist() == [6, 9, 7]
    assert one.offsets.tolist() == [[2, 5], [5, 7], [8, 12]]


def test_offsets_only_on_request():
    (one,) = tokenizer().encode(["a film"])
    assert one.offsets.shape == (0, 2)
    assert one.ids.dtype == np.int32


def test_D13_special_tokens_typed_by_a_user_stay_text():
    specials = {i for i, token in enumerate(VOCAB) if token in SPECIALS and token != "[UNK]"}
    for text in SPECIALS:
        assert not specials & set(tokenizer().encode([text])[0].ids.tolist())


def test_lone_surrogates_are_one_unknown_character():
    (one,) = tokenizer().encode(["good \ud800 film"], offsets=True)
    assert one.offsets[-1].tolist() == [7, 11]


def test_decode_and_token():
    assert tokenizer().decode([2, 6, 9, 7, 3]) == "badly film"
    assert tokenizer().token(9) == "##ly"
    assert len(tokenizer()) == len(VOCAB) == 11


def test_accents_follow_lower_casing_unless_told():
    vocab = [*SPECIALS, "é", "e", "É"]
    assert ours(Tokenizer.from_vocab(vocab), ["É"]) == [[6]]
    assert ours(Tokenizer.from_vocab(vocab, strip_accents=False), ["É"]) == [[5]]
    assert ours(Tokenizer.from_vocab(vocab, lowercase=False), ["É"]) == [[7]]
    assert ours(Tokenizer.from_vocab(vocab, lowercase=False, han=False), ["é"]) == [[5]]


# -- as transformers --------------------------------------------------------------------------------------------------


@needs_minilm
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_nasty_text_as_transformers(minilm, their_minilm, text):
    assert ours(minilm, [text]) == theirs(their_minilm, [text])


@needs_minilm
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_offsets_cut_the_original(minilm, text):
    (one,) = minilm.encode([text], offsets=True)
    assert len(one.offsets) == len(one.ids)
    assert np.array_equal(one.ids, minilm.encode([text])[0].ids)
    for number, (begin, end) in zip(one.ids, one.offsets, strict=True):
        assert 0 <= begin < end <= len(text)
        piece = minilm.token(int(number)).removeprefix("##")
        cut = text[begin:end].lower()
        if piece != "[UNK]":  # its letters stand in what is cut out, or in what its accents are taken off
            assert set(piece) <= {*cut, *unicodedata.normalize("NFD", cut)}
    assert (np.diff(one.offsets[:, 0]) >= 0).all()


@needs_minilm
def test_1000_reviews_as_transformers(minilm, their_minilm, real_data):
    texts = reviews(real_data("imdb"), 1000)
    assert len(texts) == 1000
    found, expected = ours(minilm, texts), theirs(their_minilm, texts)
    assert found == expected
    encoded = minilm.encode(texts[:100], offsets=True)
    for text, one in zip(texts, encoded, strict=False):
        for number, (begin, end) in zip(one.ids, one.offsets, strict=True):
            piece = minilm.token(int(number)).removeprefix("##")
            if text[begin:end].isascii() and piece != "[UNK]":
                assert text[begin:end].lower() == piece


@pytest.mark.parametrize(
    ("name", "lines", "lowercase"),
    [
        ("bert-base-uncased", 30_522, True),
        ("bert-base-cased", 28_996, False),
        ("bert-base-chinese", 21_128, False),
        ("bert-base-multilingual-cased", 119_547, False),
    ],
)
def test_published_vocabularies(real_data, tmp_path, name, lines, lowercase):
    source = real_data("vocab") / f"{name}.vocab.txt"
    (tmp_path / "vocab.txt").write_bytes(source.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    made = Tokenizer.from_folder(tmp_path)
    assert len(made) == lines
    assert [made.token(i) for i in (made.pad, made.unk, made.cls, made.sep, made.mask)] == list(SPECIALS)
    other = BertTokenizerFast.from_pretrained(tmp_path)
    assert ours(made, list(NASTY.values())) == theirs(other, list(NASTY.values()))


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("accents", [True, False, None])
def test_saved_and_opened_here_and_there(tmp_path, lowercase, accents):
    vocab = [*SPECIALS, "Crème", "crème", "creme", "Creme", "这", "film"]
    made = Tokenizer.from_vocab(vocab, lowercase=lowercase, strip_accents=accents)
    made.save(tmp_path, 77)
    text = "Crème [SEP]这film"
    again = Tokenizer.from_folder(tmp_path)
    other = AutoTokenizer.from_pretrained(tmp_path)
    assert ours(made, [text]) == ours(again, [text]) == theirs(other, [text])
    assert other.model_max_length == 77
    assert other("film")["input_ids"] == [2, 10, 3]
    assert (tmp_path / "vocab.txt").read_text("utf-8").split("\n")[:-1] == vocab
    (tmp_path / "tokenizer.json").unlink()
    assert ours(Tokenizer.from_folder(tmp_path), [text]) == ours(made, [text])


def test_cased_tokenizer_json_without_its_config_stays_cased_in_transformers(tmp_path):
    """The rules are in tokenizer.json; a tokenizer_config.json that says otherwise must not be made up."""
    Tokenizer.from_vocab([*SPECIALS, "Film", "film"], lowercase=False).save(tmp_path, 64)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "again").mkdir()
    Tokenizer.from_folder(tmp_path).save(tmp_path / "again", 64)
    assert theirs(AutoTokenizer.from_pretrained(tmp_path / "again"), ["Film film"]) == [[5, 6]]
    (tmp_path / "again" / "tokenizer.json").unlink()
    assert ours(Tokenizer.from_folder(tmp_path / "again"), ["Film film"]) == [[5, 6]]


def test_vocab_lines_end_at_newlines_only(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*SPECIALS, "a\u2028b", "film"]).encode() + b"\r\n")
    made = Tokenizer.from_folder(tmp_path)
    assert [made.token(i) for i in range(len(made))] == [*SPECIALS, "a\u2028b", "film"]


# -- casing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "proved"),
    [
        (["good", "bad", "ℝ", "<S>", "[MASK]"], True),
        (["good", "Good", "##Bad"], False),
        (["Ärger", "ärger"], False),
        ([*(f"word{i}" for i in range(19)), "Word"], False),
        ([*(f"word{i}" for i in range(20)), "DNA", "good"], None),
        (["好", "坏", "한국"], None),
    ],
)
def test_a_vocabulary_may_prove_its_casing(words, proved):
    assert uncased([*SPECIALS, *words]) is proved


@pytest.mark.parametrize(
    ("name", "proved"), [("uncased", True), ("chinese", True), ("cased", False), ("multilingual-cased", False)]
)
def test_published_vocabularies_prove_their_casing(tmp_path, real_data, name, proved):
    source = real_data("vocab") / f"bert-base-{name}.vocab.txt"
    (tmp_path / "vocab.txt").write_bytes(source.read_bytes())
    settings = Tokenizer.from_folder(tmp_path).settings
    assert settings == {"do_lower_case": proved, "strip_accents": None, "tokenize_chinese_chars": True}


@pytest.mark.parametrize("told", [None, {}, {"do_lower_case": None}, {"do_lower_case": "false"}])
def test_a_cased_vocabulary_alone_is_read_as_cased(tmp_path, told):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIALS, "Film", "film"]))
    if told is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(told))
    assert ours(Tokenizer.from_folder(tmp_path), ["Film film"]) == [[5, 6]]


def test_a_vocabulary_that_proves_nothing_asks_and_takes_the_answer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIALS, "好", "坏"]), encoding="utf-8")
    with pytest.raises(ModelError, match=r'does not show .* write \{"do_lower_case": true\} .* tokenizer_config\.json'):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert Tokenizer.from_folder(tmp_path).settings["do_lower_case"] is False


# -- what cannot be read ----------------------------------------------------------------------------------------------


def test_M36_a_repeated_line_would_shift_the_ids(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIALS, "film", "a", "film", "b"]))
    with pytest.raises(ModelError, match="9 lines but 8 different tokens"):
        Tokenizer.from_folder(tmp_path)


def test_nothing_to_read(tmp_path):
    with pytest.raises(ModelError, match=r"neither tokenizer\.json nor vocab\.txt"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("missing", SPECIALS)
def test_a_special_token_is_missing(missing):
    with pytest.raises(ModelError, match=rf"no \[{missing[1:-1]}\]"):
        Tokenizer.from_vocab([token for token in VOCAB if token != missing])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not a JSON object"),
        ('{"model": []}', r"tokenizer\.json model — is \[\]"),
        ('{"model": {"type": "WordPiece"}}', "vocabulary does not map"),
        ('{"model": {"type": "WordPiece", "vocab": {"a": 0}}}', "cannot be read as a tokenizer"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}', "BPE"),
    ],
)
def test_M36_broken_tokenizer_json(tmp_path, content, said):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=said):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", ["{", "7", "null", "[]", '"x"', "[" * 100_000], ids=lambda text: text[:5])
def test_M36_broken_tokenizer_config(tmp_path, content):
    tokenizer().save(tmp_path, 64)
    (tmp_path / "tokenizer_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer_config\.json"):
        Tokenizer.from_folder(tmp_path)


def test_M36_vocabulary_that_is_no_utf8(tmp_path):
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\n[UNK]\n\xff\xfe\n")
    with pytest.raises(ModelError, match=r"vocab\.txt"):
        Tokenizer.from_folder(tmp_path)
