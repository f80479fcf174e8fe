"""The WordPiece tokenizer: text to ids and back, by the `tokenizers` library.

The tasks add special tokens and truncate (tasks/framing.py); vocab.py learns a vocabulary. Offsets index the ORIGINAL
string. A special token typed by a user ("[SEP]") is tokenised as text.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from filbert.errors import ModelError
from filbert.files import read_json, write_text
from filbert.records import Encoding, IntArray
from filbert.text.tokenizer_files import read_backend, read_vocab

SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
BATCH_CHARACTERS = 1_000_000  # encoded at once: the library takes some 70 bytes for each
HAN = "\u4e00-\u9fff"
T = TypeVar("T")
VOCABULARY = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")  # the files of a vocabulary
MARKER = re.compile(r"\[.*\]|<.*>")  # [CLS], [unused1], and the <S> of the Chinese vocabulary: not words


class Tokenizer:
    """A WordPiece tokenizer with its model's rules on case and accents.

    >>> tokenizer = Tokenizer.from_vocab([*SPECIALS, "play", "##ing", "chess"])
    >>> tokenizer.encode(["Playing chess"])[0].ids.tolist()
    [5, 6, 7]
    """

    def __init__(self, backend: Backend, settings: dict[str, object]) -> None:
        self._backend = backend
        self.settings = settings
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = True  # "[SEP]" inside a text is text
        self.pad, self.unk, self.cls, self.sep, self.mask = (self._special(token) for token in SPECIALS)
        han = HAN if settings.get("tokenize_chinese_chars") else ""
        marks = string.punctuation if type(backend.pre_tokenizer).__name__ == "BertPreTokenizer" else ""
        self._ends = re.compile(f"[ \\t\\n\\r{re.escape(marks)}{han}]")  # characters before which a word ends

    def _special(self, token: str) -> int:
        number = self._backend.token_to_id(token)
        if number is None:
            raise ModelError(f"the vocabulary has no {token} — BERT needs {', '.join(SPECIALS)}; use a BERT vocabulary")
        return int(number)

    def __len__(self) -> int:
        return int(self._backend.get_vocab_size(with_added_tokens=True))

    @classmethod
    def from_vocab(
        cls, tokens: Sequence[str], *, lowercase: bool = True, strip_accents: bool | None = None, han: bool = True
    ) -> Tokenizer:
        """Return a tokenizer for a vocabulary, one token per id; `strip_accents` None means: as `lowercase`."""
        vocab = {token: i for i, token in enumerate(tokens)}
        backend = Backend(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
        backend.normalizer = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=han, strip_accents=strip_accents, lowercase=lowercase
        )
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        backend.decoder = decoders.WordPiece(prefix="##")
        backend.add_special_tokens([token for token in SPECIALS if token in vocab])
        if "[SEP]" in vocab and "[CLS]" in vocab:
            backend.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
        rules = {"do_lower_case": lowercase, "strip_accents": strip_accents, "tokenize_chinese_chars": han}
        return cls(backend, dict(rules))

    @classmethod
    def from_folder(cls, folder: Path, check: Callable[[int], None] = lambda tokens: None) -> Tokenizer:
        """Read `tokenizer.json`, else `vocab.txt` with the rules of `tokenizer_config.json`.

        Where neither says whether to lower-case, the vocabulary must show it (`uncased`). Raises ModelError where it
        does not, where there is no vocabulary, or where the file is not a BERT tokenizer. `check` is called with the
        number of tokens before the tokenizer is made of them, which takes long where they are many.
        """
        rules = folder / "tokenizer_config.json"
        config = read_json(rules) if rules.is_file() else {}
        if (folder / "tokenizer.json").is_file():
            return cls(*read_backend(folder / "tokenizer.json", check))
        if not (folder / "vocab.txt").is_file():
            raise ModelError(f"{folder} has neither tokenizer.json nor vocab.txt — copy one beside config.json")
        tokens = read_vocab(folder / "vocab.txt")
        check(len(tokens))
        settings = {key: value for key, value in config.items() if isinstance(value, bool)}  # null: not given
        lowercase = settings.get("do_lower_case", uncased(tokens))
        if lowercase is None:
            raise ModelError(
                f"{folder}/vocab.txt — does not show by its capitals whether the model is uncased — write "
                '{"do_lower_case": true} (uncased) or {"do_lower_case": false} (cased) into tokenizer_config.json '
                "beside it, or pass --uncased or --cased to `filbert convert`"
            )
        accents, han = settings.get("strip_accents"), settings.get("tokenize_chinese_chars", True)
        return cls.from_vocab(tokens, lowercase=lowercase, strip_accents=accents, han=han)

    def encode(self, texts: Sequence[str], *, offsets: bool = False) -> list[Encoding]:
        """Return the ids of texts without [CLS] and [SEP]; offsets (n × 2, code points) cost a third more time."""
        found: list[Encoding] = []
        for some in grouped(texts, len, BATCH_CHARACTERS):
            found += (
                [self._encode_long(some[0], offsets)]
                if len(some[0]) > BATCH_CHARACTERS
                else self._encoded(some, offsets)
            )
        return found

    def _encoded(self, texts: Sequence[str], offsets: bool) -> list[Encoding]:
        run = self._backend.encode_batch if offsets else self._backend.encode_batch_fast
        found = run([_without_surrogates(text) for text in texts], add_special_tokens=False)
        return [
            Encoding(
                np.asarray(one.ids, dtype=np.int32),
                np.asarray(one.offsets if offsets else (), dtype=np.int32).reshape(-1, 2),
                text,
            )
            for one, text in zip(found, texts, strict=True)
        ]

    def _encode_long(self, text: str, offsets: bool) -> Encoding:
        """Encode a text in parts that end where words end, which gives the ids of the whole text."""
        ids, places = [], []
        start = 0
        while start < len(text):
            cut = self._ends.search(text, start + BATCH_CHARACTERS)
            end = cut.start() if cut else len(text)
            part = text[start:end]
            word = end - start > 2 * BATCH_CHARACTERS and part[1:].isalnum()  # a word that is unknown, however long
            (one,) = self._encoded([part[:BATCH_CHARACTERS] if word else part], offsets)
            ids.append(one.ids)
            places.append(one.offsets + np.int32(start))
            if word and offsets:
                places[-1][-1, 1] = end
            start = end
        return Encoding(np.concatenate(ids), np.concatenate(places), text)

    def decode(self, ids: IntArray | Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""
        return str(self._backend.decode([int(i) for i in ids], skip_special_tokens=True))

    def unk_ratio(self, encoding: Encoding) -> float:
        """Return the share of a text's tokens that are [UNK], 0 to 1.

        >>> tokenizer = Tokenizer.from_vocab([*SPECIALS, "chess"])
        >>> tokenizer.unk_ratio(tokenizer.encode(["chess 象棋 chess"])[0])
        0.5
        """
        return float((encoding.ids == self.unk).mean()) if len(encoding.ids) else 0.0

    def token(self, number: int) -> str:
        """Return the token of an id: `token(101)` is "[CLS]" in Google's vocabularies."""
        return str(self._backend.id_to_token(number))

    def save(self, folder: Path, max_length: int) -> None:
        """Write `tokenizer.json`, `tokenizer_config.json` and `vocab.txt` in the Hugging Face layout, each whole."""
        vocab = self._backend.get_vocab(with_added_tokens=True)
        lines = sorted(vocab, key=vocab.__getitem__)
        write_text(folder / "vocab.txt", "".join(token + "\n" for token in lines))
        write_text(folder / "tokenizer.json", self._backend.to_str(pretty=True))
        names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
        rules = {key: self.settings[key] for key in ("do_lower_case", "strip_accents", "tokenize_chinese_chars")}
        config = {"tokenizer_class": "BertTokenizer", "model_max_length": max_length, **names, "mask_token": "[MASK]"}
        text = json.dumps({**config, **rules}, indent=2)
        write_text(folder / "tokenizer_config.json", text + "\n")


def grouped(items: Iterable[T], size: Callable[[T], int], most: int, count: int | None = None) -> Iterator[list[T]]:
    """Yield groups of at most `count` items, with sizes of at most `most` in all; a larger item is a group by itself.

    >>> list(grouped(["a", "bb", "cccc", "d"], len, 3))
    [['a', 'bb'], ['cccc'], ['d']]
    """
    held: list[T] = []
    room = most
    for item in items:
        taken = size(item)
        if held and taken > room:
            yield held
            held, room = [], most
        held.append(item)
        room -= taken
        if len(held) == count:
            yield held
            held, room = [], most
    if held:
        yield held


def encoded(tokenizer: Tokenizer, inputs: Sequence[Sequence[str]], *, offsets: bool = False) -> list[list[Encoding]]:
    """Return the word pieces of each text of each example; a text that stands in several is encoded, and kept, once.

    >>> tokenizer = Tokenizer.from_vocab([*SPECIALS, "who", "when", "tea"])
    >>> one, two = encoded(tokenizer, [("who", "tea tea"), ("when", "tea tea")])
    >>> one[1] is two[1]
    True
    """
    different = list(dict.fromkeys(text for texts in inputs for text in texts))
    known = dict(zip(different, tokenizer.encode(different, offsets=offsets), strict=True))
    return [[known[text] for text in texts] for texts in inputs]


def uncased(tokens: Sequence[str]) -> bool | None:
    """Return whether a vocabulary is uncased, by its capitals; None where they do not show it.

    True without any word with a capital. False from one such word in twenty on (published cased vocabularies: one in
    five). In between are words added to an uncased vocabulary, and scripts without capitals.

    >>> uncased(["[CLS]", "nut", "##s"]), uncased(["nut", "Nut"]), uncased(["好", "坏"])
    (True, False, None)
    """
    words = [token for token in tokens if not MARKER.fullmatch(token)]
    upper = sum(word != word.lower() for word in words)  # "ℝ" is an upper-case letter with no lower case
    lower = sum(word != word.upper() for word in words)
    if lower and not upper:
        return True
    return False if upper and upper * 20 >= lower else None


def _without_surrogates(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, by U+FFFD; offsets stay the same."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in text)
    return text
