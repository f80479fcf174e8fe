"""Read `tokenizer.json` and `vocab.txt`, after checking that they hold only parts of a BERT tokenizer and valid ids.

An untrusted file may hold parts that multiply a text, never end, or make the library panic; those of BERT models do
not, so no others are accepted. The file is checked before `tokenizers` parses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Backend

from filbert.errors import ModelError, shown
from filbert.files import JSON_LIMIT, read_json

NORMALIZERS = ("BertNormalizer", "Lowercase", "StripAccents", "Strip", "Nmt", "NFC", "NFD", "NFKC", "NFKD")
PRE_TOKENIZERS = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits")
PARTS = 8  # of a sequence
WORD = 1_000  # characters of a word that is split into pieces, at most; BERT's limit is 100, and time is quadratic
PREFIX = 8  # characters of the prefix of a continuing piece, at most; "##" has two


def read_backend(path: Path, check: Callable[[int], None]) -> tuple[Backend, dict[str, object]]:
    """Return the tokenizer of a `tokenizer.json` and, from its normalizer, the rules of tokenizer_config.json.

    Raises ModelError, naming the field, where the file is damaged, not a BERT tokenizer's, or its ids are not 0, 1, …,
    each once; or as `check` does, which is given the number of tokens.
    """
    fields = read_json(path)
    model = fields.get("model")
    if not isinstance(model, dict):
        raise ModelError(f"{path} model — is {shown(model)} — restore the file")
    kind = model.get("type", "WordPiece")
    if kind != "WordPiece":
        raise ModelError(f"{path} holds a {shown(kind)} tokenizer — Filbert reads BERT models, which use WordPiece")
    _check_limits(path, model)
    for field, known in (("normalizer", NORMALIZERS), ("pre_tokenizer", PRE_TOKENIZERS), ("decoder", ("WordPiece",))):
        _check_part(path, field, fields.get(field), known)
    check(_checked_ids(path, model, fields.get("added_tokens")))
    try:
        backend = Backend.from_str(path.read_text(encoding="utf-8"))
    except BaseException as e:  # a panic of the library is no Exception
        if not isinstance(e, Exception) and type(e).__name__ != "PanicException":
            raise
        raise ModelError(f"{path} cannot be read as a tokenizer ({str(e)[:120]}) — restore the file") from None
    rules = fields.get("normalizer") or {}
    return backend, {
        "do_lower_case": bool(rules.get("lowercase", False)),
        "strip_accents": rules.get("strip_accents"),
        "tokenize_chinese_chars": bool(rules.get("handle_chinese_chars", False)),
    }


def _check_limits(path: Path, model: Mapping[str, Any]) -> None:
    longest, prefix = model.get("max_input_chars_per_word", 100), model.get("continuing_subword_prefix", "##")
    if not isinstance(longest, int) or not 0 < longest <= WORD:
        raise ModelError(
            f"{path} model.max_input_chars_per_word — is {shown(longest)} — BERT's is 100, at most {WORD:,} are read"
        )
    if not isinstance(prefix, str) or len(prefix) > PREFIX:
        raise ModelError(f"{path} model.continuing_subword_prefix — is {shown(prefix)} — BERT's is '##'")


def _check_part(path: Path, field: str, fields: object, known: tuple[str, ...]) -> None:
    """Raise ModelError where a part of the tokenizer is not one that BERT models have."""
    if fields is None:
        return
    part = fields if isinstance(fields, dict) else {}
    inner = part.get("normalizers", part.get("pretokenizers")) if part.get("type") == "Sequence" else None
    if isinstance(inner, list) and len(inner) <= PARTS and field != "decoder":
        for each in inner:
            if not isinstance(each, dict) or each.get("type") not in known:
                raise _unknown_part(path, field, each, known)
    elif part.get("type") not in known:
        raise _unknown_part(path, field, fields, known)


def _unknown_part(path: Path, field: str, fields: object, known: tuple[str, ...]) -> ModelError:
    kind = fields.get("type", fields) if isinstance(fields, dict) else fields
    return ModelError(f"{path} {field} — is {shown(kind)}, which BERT models do not have — read are {', '.join(known)}")


def _checked_ids(path: Path, model: Mapping[str, Any], added: object) -> int:
    """Return the number of tokens; raise ModelError unless their ids are 0, 1, …, each once."""
    vocab = model.get("vocab")
    more = added if isinstance(added, list) else [] if added is None else [None]
    pairs = [(one.get("content"), one.get("id")) if isinstance(one, dict) else (None, None) for one in more]
    if not isinstance(vocab, dict) or not all(isinstance(word, str) for word, _ in pairs):
        raise ModelError(f"{path} — its vocabulary does not map tokens to ids — restore the file")
    numbers = dict(vocab)
    for word, number in pairs:
        if numbers.setdefault(word, number) != number:
            raise ModelError(f"{path} — numbers {shown(word, 40)} twice: {numbers[word]}, {number} — restore the file")
    fault = next(_faults(numbers), None)
    if fault:
        raise ModelError(f"{path} — {fault} — restore the file")
    return len(numbers)


def _faults(numbers: Mapping[str, object]) -> Iterator[str]:
    """Yield what is wrong with the ids of tokens."""
    seen: dict[int, str] = {}
    for word, number in numbers.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(numbers):
            yield f"its {len(numbers):,} tokens should be numbered from 0; {shown(word, 40)} has {shown(number, 40)}"
            return
        if number in seen:
            yield f"{shown(seen[number], 40)} and {shown(word, 40)} have the same id, {number}"
            return
        seen[number] = word


def read_vocab(path: Path) -> list[str]:
    """Return the tokens of a `vocab.txt`, one per line, in the order of their ids; raises ModelError."""
    if path.stat().st_size > JSON_LIMIT:
        raise ModelError(
            f"{path} — is larger than {JSON_LIMIT >> 20} MB, too large for a vocabulary — restore the file"
        )
    try:  # not splitlines(): some vocabularies hold U+2028 and other line separators
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except UnicodeDecodeError as e:
        raise ModelError(f"{path} is not UTF-8 ({e}) — restore the file") from None
    tokens = [line.rstrip("\r") for line in lines]
    if tokens[0].startswith("\ufeff"):
        raise ModelError(f"{path} — begins with a byte order mark, which became part of the first token — remove it")
    different = len(set(tokens))
    if different < len(tokens):  # ids are line numbers: saved again, all after a repeated line would shift
        raise ModelError(f"{path} — has {len(tokens):,} lines but {different:,} different tokens — restore the file")
    return tokens
