"""With the four published vocabularies our ids are those of `transformers`, its fast and its slow tokenizer.

One difference is meant: "[SEP]" typed by a user is text here. `transformers` makes it the special token, so it is asked
with `split_special_tokens`.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import pytest
from small import reviews
from tokenizers import normalizers
from transformers import BertTokenizerFast
from transformers.models.bert import BertTokenizerLegacy

from filbert.text.tokenizer import SPECIALS, Tokenizer

NASTY = {
    "nothing": "",
    "blanks": " \t\r\n\v\f\u00a0\u2003\u3000 ",
    "accents, composed": "Crème brûlée à la façade, naïve Ångström ÉCOLE Ệ ǘ İstanbul ẞ ǆ",
    "accents, apart": "Cre\u0300me bru\u0302le\u0301e n\u0303 E\u0302\u0323 \u0301 a\u0301\u0302\u0303",
    "emoji": "great 👍🏽 film 👨‍👩‍👧‍👦 ❤️ 🇩🇪 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿!",
    "control": "a\x00b\x01c\x7fd\x85e\x1b[31m f\ufffdg\ufffeh",
    "zero width": "fi\u200blm goo\u200cd \u200dx \ufeffbad so\u00adfar \u2060y\u180e",
    "right to left": "\u202eevil\u202c שָׁלוֹם עולם مَرْحَبًا بكم \u200fx\u200e",
    "rare Han": "𠮷野家 𪚥 𫠝 㐀 豈 丽 々〇 〡",
    "Chinese": "这部电影《真的》很好看，我给十分！「對」……",
    "full width": "ＡＢＣ１２３！？．ｆｉｌｍ ｶﾞ",
    "compatibility": "ﬁne ﬀ Ⅳ ½ ² ™ ª ① ㎏ ㍿",
    "kana and hangul": "映画がすごいパーティー 한국어 영화 각 \u1100\u1161",
    "other scripts": "Привет мир ελληνικά ς हिन्दी ไทย தமிழ் ქართული",
    "99 to 201 letters": " ".join(
        letter * count for letter, count in zip("abcde", (99, 100, 101, 200, 201), strict=True)
    ),
    "200 accents": "e\u0301" * 120 + " " + "é" * 100 + " " + "é" * 101,
    "special tokens": "[SEP] [CLS]good[MASK] [PAD] [UNK] [sep] [ SEP ] [SEP][SEP] x[SEP]y",
    "word pieces": "##ing # #ing play##ing ##",
    "punctuation": "don't—stop... $5,000.00 (e.g. #1) `x` ~ ^ | <br /> http://a.b/c?d=e&f ¿qué? «no» ‽ ʼ",
    "separators": "a\u2028b\u2029c\u001cd\u001ee",
    "tabs": "one\ttwo\t\tthree\n\nfour\r\nfive",
    "Han in words": "film电影good 2024年5月 iPhone手机",
    "private and unassigned": "\ue000 \U000f0000 \u0378 \U0001fbff x",
}
# Here the slow tokenizer of `transformers` differs from its fast one, and we are with the fast one: the slow one makes
# accents whole before it begins (NFC), drops private and unassigned characters, and heeds no `split_special_tokens`.
FAST_ONLY = {"accents, apart", "kana and hangul", "control", "private and unassigned", "special tokens"}
PUBLISHED = {
    "bert-base-uncased": (30_522, True),
    "bert-base-cased": (28_996, False),
    "bert-base-chinese": (21_128, False),
    "bert-base-multilingual-cased": (119_547, False),
}


class Three(NamedTuple):
    """One vocabulary in three tokenizers."""

    lines: int
    ours: Tokenizer
    fast: BertTokenizerFast
    slow: BertTokenizerLegacy
    normalizer: normalizers.Normalizer


_made: dict[str, Three] = {}


@pytest.fixture(params=PUBLISHED)
def three(request, real_data, tmp_path_factory) -> Three:
    name = request.param
    if name not in _made:
        source = real_data("vocab") / f"{name}.vocab.txt"
        lines, lowercase = PUBLISHED[name]
        folder = tmp_path_factory.mktemp(name)
        (folder / "vocab.txt").write_bytes(source.read_bytes())
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
        _made[name] = Three(
            lines,
            Tokenizer.from_folder(folder),
            BertTokenizerFast.from_pretrained(folder),
            BertTokenizerLegacy(folder / "vocab.txt", do_lower_case=lowercase),
            normalizers.BertNormalizer(lowercase=lowercase),
        )
    return _made[name]


def ours(three: Three, texts: list[str]) -> list[list[int]]:
    return [one.ids.tolist() for one in three.ours.encode(texts)]


def theirs(three: Three, texts: list[str]) -> list[list[int]]:
    return three.fast(texts, add_special_tokens=False, split_special_tokens=True, truncation=False)["input_ids"]


def theirs_slowly(three: Three, text: str) -> list[int]:
    return three.slow(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


def assert_offsets_cut_the_text(three: Three, texts: list[str]) -> None:
    """What is cut out normalises to the token; where one character becomes several (한, İ), to a part of it."""
    normal = lru_cache(1 << 16)(three.normalizer.normalize_str)
    for text, one in zip(texts, three.ours.encode(texts, offsets=True), strict=True):
        before = 0
        for number, (begin, end) in zip(one.ids.tolist(), one.offsets.tolist(), strict=True):
            assert before <= begin < end <= len(text)
            before = begin
            piece = three.ours.token(number).removeprefix("##")
            cut = normal(text[begin:end]).strip()
            assert piece in ("[UNK]", cut) or (piece in cut and len(cut) > end - begin), (text, piece, cut)


def chinese(folder: Path) -> Iterator[str]:
    for part in ("train", "dev", "test"):
        lines = (folder / f"{part}.tsv").read_text(encoding="utf-8").split("\n")[1:]
        yield from (line.partition("\t")[2] for line in lines if line)


def batches(texts: Iterator[str], size: int = 1000) -> Iterator[list[str]]:
    while batch := list(islice(texts, size)):
        yield batch


def test_the_vocabulary_is_whole(three) -> None:
    assert len(three.ours) == len(three.fast) == three.lines
    numbers = (three.ours.pad, three.ours.unk, three.ours.cls, three.ours.sep, three.ours.mask)
    assert [three.ours.token(i) for i in numbers] == list(SPECIALS)
    assert list(numbers) == three.fast.convert_tokens_to_ids(list(SPECIALS))


@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_nasty_texts(three, text) -> None:
    assert ours(three, [text]) == theirs(three, [text])
    assert_offsets_cut_the_text(three, [text])


@pytest.mark.parametrize("name", [name for name in NASTY if name not in FAST_ONLY])
def test_nasty_texts_slowly(three, name) -> None:
    assert ours(three, [NASTY[name]]) == [theirs_slowly(three, NASTY[name])]


def test_lone_surrogates_are_ours_to_handle(three) -> None:
    for text in ("\ud800", "good \udfff film", "\udc80\ud800x"):
        replaced = "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in text)
        assert ours(three, [text]) == theirs(three, [replaced])
        assert_offsets_cut_the_text(three, [replaced])
        with pytest.raises((UnicodeEncodeError, TypeError)):
            theirs(three, [text])


def test_some_real_texts(three, real_data) -> None:
    texts = [*reviews(real_data("imdb"), 100), *islice(chinese(real_data("chnsenticorp")), 200)]
    assert len(texts) == 300
    assert ours(three, texts) == theirs(three, texts)
    assert_offsets_cut_the_text(three, texts[80:120])
    for text in texts[95:110]:
        assert ours(three, [text]) == [theirs_slowly(three, text)]


@pytest.mark.slow
def test_every_text_of_two_data_sets(three, real_data) -> None:
    def english() -> Iterator[str]:
        for name in ("aclImdb_labeled.tar.xz", "aclImdb_unsup.tar.xz"):
            with tarfile.open(real_data("imdb") / name, "r|xz") as archive:
                files = (archive.extractfile(member) for member in archive if member.name.endswith(".txt"))
                yield from (file.read().decode("utf-8") for file in files if file)

    read = 0
    for texts in batches(chain(english(), chinese(real_data("chnsenticorp")))):
        assert ours(three, texts) == theirs(three, texts)
        assert_offsets_cut_the_text(three, texts)
        read += len(texts)
    assert read >= 100_000 + 12_000
