"""A corpus becomes the same four arrays whether or not it was interrupted, and they hold what the tokenizer says."""

from __future__ import annotations

import os
import random
import re
from itertools import count, islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from filbert.corpus import shards
from filbert.corpus.shards import open_shards, write_shards
from filbert.errors import ConfigError, DataError
from filbert.files import read_sealed, write_sealed
from filbert.progress import Silent
from filbert.readers.documents import open_corpus
from filbert.text.tokenizer import SPECIALS, Tokenizer
from tests.small import VOCAB, WORDS, tokenizer

TEXT = "good film. bad. \u200b! zebra!\nnot notly\n\na film\n\n(a  film\n\na\nfilm\n\n\u2028.\n"


class Killed(Exception):
    """What stands for kill -9 in these tests."""


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!])\s*", text) if part]


def write(folder: Path, text: str = TEXT, **changes):
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    settings = {"tokenizer": tokenizer(), "sentences": sentences, "watch": Silent(), **changes}
    return write_shards(open_corpus(path), folder / "shards", **settings)


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "shards").iterdir() if path.name != ".lock"}


def read(made) -> list[list[list[str]]]:
    """The tokens of each sentence of each document."""
    token = tokenizer().token
    starts_S, starts_D = made.sentences_S.tolist(), made.documents_D.tolist()
    cut = [[token(i) for i in made.ids_T[a:b]] for a, b in pairwise(starts_S)]
    return [cut[a:b] for a, b in pairwise(starts_D)]


def many(size: int = 60, seed: int = 0) -> str:
    """Documents of the small vocabulary, about one in four a duplicate."""
    chance = random.Random(seed)
    words = [word.removeprefix("##") for word in WORDS]
    made = [". ".join(" ".join(chance.choices(words, k=4)) for _ in range(chance.randint(1, 3))) for _ in range(size)]
    return "\n\n".join(chance.choice(made[max(0, n - 2) : n + 1]) for n in range(size)) + "\n"


# --- what is written ------------------------------------------------------------------------------------------------


def test_arrays_and_facts(tmp_path):
    made = write(tmp_path, TEXT.replace("(a", "a"))
    assert read(made) == [
        [["good", "film", "[UNK]"], ["bad", "[UNK]"], ["[UNK]"], ["[UNK]", "[UNK]"], ["not", "not", "##ly"]],
        [["a", "film"]],
        [["[UNK]"]],
    ]
    assert made.begins_T.tolist() == [1] * 10 + [0] + [1] * 3
    assert (made.sentences_S[-1], made.documents_D[-1]) == (len(made.ids_T), len(made.sentences_S) - 1)
    counted = {key: made.facts[key] for key in shards.COUNTS}
    assert counted == {
        "documents": 3,
        "duplicates": 2,  # "a  film" and "a\nfilm"
        "empty": 0,
        "sentences": 7,
        "tokens": 14,
        "characters": sum(map(len, ["good film.", "bad.", "\u200b!", "zebra!", "not notly", "a film", "."])),
        "unknown": 6,
    }
    assert (made.facts["corpus"], made.facts["vocabulary_size"]) == ("text.txt", len(VOCAB))
    types = [made.ids_T.dtype, made.begins_T.dtype, made.sentences_S.dtype, made.documents_D.dtype]
    assert types == [np.uint16, np.uint8, np.int64, np.int64]
    with pytest.raises(ValueError, match="read-only"):
        made.ids_T[0] = 1


def test_sentences_and_documents_without_tokens_are_left_out(tmp_path):
    made = write(
        tmp_path, "film\n\nnothing\n\ngood\n", sentences=lambda text: ["", text, " "] if text != "nothing" else [" "]
    )
    assert read(made) == [[["film"]], [["good"]]]
    assert (made.facts["documents"], made.facts["empty"], made.facts["sentences"]) == (2, 1, 2)


def test_large_vocabulary_takes_four_bytes(tmp_path):
    large = Tokenizer.from_vocab([*SPECIALS, *(f"w{n}" for n in range(65_600))])
    made = write(tmp_path, "w65599 w1\n", tokenizer=large)
    assert (made.ids_T.dtype, made.ids_T.tolist()) == (np.int32, [65_604, 6])


def test_han_words(tmp_path):
    chinese = Tokenizer.from_vocab([*SPECIALS, *"我爱北京天安门", "ok", "##ay"])
    asked = []

    def word_starts(text: str) -> set[int]:
        asked.append(text)
        return {0, 1, 2, 4} | {text.index("𠀀")}

    text = "我爱北京天安门 okay 𠀀龘.\n"
    made = write(tmp_path, text, tokenizer=chinese, word_starts=word_starts)
    assert asked == [text[:-1]]
    assert made.ids_T.tolist() == [5, 6, 7, 8, 9, 10, 11, 12, 13, 1, 1, 1]
    assert made.begins_T.tolist() == [1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1]  # 龘, unknown, does not begin a word


def test_batches_do_not_show(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
    first = write(tmp_path / "a", many())
    monkeypatch.setattr(shards, "BATCH_CHARACTERS", 30)
    monkeypatch.setattr(shards, "FLUSH_TOKENS", 20)
    second = write(tmp_path / "b", many())
    assert first.facts["duplicates"] > 5
    assert written(tmp_path / "a") == written(tmp_path / "b")
    assert read(first) == read(second)


# --- broken off and begun again -------------------------------------------------------------------------------------


class Trap(Silent):
    """Kills the run at the n-th call of anything it watches over."""

    def __init__(self, at: int) -> None:
        self.left, self.cut = at, 0

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Killed

    def progress(self, stage, done, total, **figures):
        assert figures.get("tokens_per_second", 1) > 0
        self.step()

    def sentences(self, text: str) -> list[str]:
        self.cut += 1
        self.step()
        return sentences(text)


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(shards, "BATCH_CHARACTERS", 60)
    monkeypatch.setattr(shards, "FLUSH_TOKENS", 40)
    monkeypatch.setattr(shards, "REREAD_DOCUMENTS", 5)


def trapped(folder: Path, text: str, trap: Trap, monkeypatch) -> bool:
    """Write with a trap that also goes off before a note, when the files are longer than it says, and after; whether
    the run came to its end."""
    save = shards.write_sealed

    def saving(path, facts):
        trap.step()
        save(path, facts)
        trap.step()

    with monkeypatch.context() as patch:
        patch.setattr(shards, "write_sealed", saving)
        try:
            write(folder, text, sentences=trap.sentences, watch=trap)
        except Killed:
            return False
    return True


def test_killed_anywhere_it_ends_the_same(tmp_path, small_pieces, monkeypatch):
    text = many(24)
    (tmp_path / "whole").mkdir()
    write(tmp_path / "whole", text)
    for at in count(1):
        (folder := tmp_path / str(at)).mkdir()
        if trapped(folder, text, Trap(at), monkeypatch):
            break
        if not (folder / "shards" / "shards.json").exists() and at > 1:
            with (folder / "shards" / "ids.bin").open("ab") as file:
                file.write(b"x")  # half a token, as a write that was cut short leaves
        write(folder, text)
        assert written(folder) == written(tmp_path / "whole"), at
    assert at > 30
    assert set(written(folder)) == {"ids.bin", "begins.bin", "sentences.bin", "documents.bin", "shards.json"}


def test_killed_again_and_again_it_still_gets_on(tmp_path, small_pieces, monkeypatch):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = Trap(0)
    write(tmp_path / "whole", many(300), sentences=whole.sentences)
    traps = [Trap(100)]
    while not trapped(tmp_path / "killed", many(300), traps[-1], monkeypatch):
        with pytest.raises(DataError, match="not finished"):
            open_shards(tmp_path / "killed" / "shards")
        traps.append(Trap(100))
    assert len(traps) > 3
    assert sum(trap.cut for trap in traps) < whole.cut * 1.2  # little is tokenised twice
    assert written(tmp_path / "killed") == written(tmp_path / "whole")


def test_killed_between_manifest_and_end(tmp_path):
    write(tmp_path)
    (tmp_path / "shards" / "progress.json").write_text("{", encoding="utf-8")
    write(tmp_path, sentences=lambda text: pytest.fail("tokenised again"))
    assert "progress.json" not in written(tmp_path)


@pytest.mark.parametrize("change", ["other", "shorter"])
def test_corpus_changed_while_broken_off(tmp_path, small_pieces, monkeypatch, change):
    text = many(40)
    with pytest.raises(Killed):
        write(tmp_path, text, watch=Trap(5))
    monkeypatch.setattr(open_corpus(tmp_path / "text.txt").__class__, "fingerprint", lambda self: "same")
    with pytest.raises(ConfigError, match="another corpus"):
        write(tmp_path, text)
    note = tmp_path / "shards" / "progress.json"
    facts = read_sealed(note)
    assert facts["read"] > 1
    write_sealed(note, {**facts, "corpus_fingerprint": "same"})
    with pytest.raises(ConfigError, match="differs from the one that"):
        write(tmp_path, "bad " + text if change == "other" else text.split("\n\n")[0])


# --- folders that are there already ---------------------------------------------------------------------------------


def test_finished_folder_is_opened(tmp_path):
    first = write(tmp_path)
    before = written(tmp_path)
    again = write(tmp_path, sentences=lambda text: pytest.fail("tokenised again"))
    assert again.facts == first.facts
    assert written(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"text": TEXT + "more"}, "corpus"),
        ({"tokenizer": Tokenizer.from_vocab([*VOCAB, "more"])}, "vocabulary"),
        ({"tokenizer": Tokenizer.from_vocab(VOCAB, lowercase=False)}, "vocabulary"),
        ({"word_starts": lambda text: {0}}, "rule for words"),
    ],
)
def test_folder_of_another_is_refused(tmp_path, changes, what):
    write(tmp_path)
    before = written(tmp_path)
    with pytest.raises(ConfigError, match=f"another {what}"):
        write(tmp_path, **changes)
    assert written(tmp_path) == before


def test_second_writer_is_kept_out(tmp_path):
    (tmp_path / "shards").mkdir()
    with FileLock(tmp_path / "shards" / ".lock"), pytest.raises(ConfigError, match="another process"):
        write(tmp_path)


def test_damaged_folder(tmp_path):
    folder = tmp_path / "shards"
    write(tmp_path)
    whole = written(tmp_path)
    for name, data in (
        ("ids.bin", whole["ids.bin"][:-1]),
        ("begins.bin", whole["begins.bin"] + b"\0"),
        *((name, flipped(whole[name])) for name in whole),
        ("shards.json", whole["shards.json"].replace(b'"tokens"', b'"taken"')),
        ("shards.json", b"{"),
    ):
        (folder / name).write_bytes(data)
        with pytest.raises(DataError, match=r"delete .*shards, and the same command"):
            open_shards(folder)
        (folder / name).write_bytes(whole[name])
    (folder / "sentences.bin").unlink()
    with pytest.raises(DataError, match="0 bytes"):
        open_shards(folder)
    with pytest.raises(DataError, match="holds no shards"):
        open_shards(tmp_path)


def flipped(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("name", ["ids.bin", "begins.bin", "sentences.bin", "documents.bin", "progress.json"])
def test_what_changed_after_a_break_is_named(tmp_path, small_pieces, name):
    with pytest.raises(Killed):
        write(tmp_path, many(40), watch=Trap(9))
    assert read_sealed(tmp_path / "shards" / "progress.json")["tokens"] > 0
    path = tmp_path / "shards" / name
    path.write_bytes(flipped(path.read_bytes()[: 40 if name.endswith("bin") else None]) + path.read_bytes()[40:])
    with pytest.raises(DataError, match=f"{name} file — is damaged"):
        write(tmp_path, many(40))


def test_another_corpus_of_the_same_size_ends_and_time_is_refused(tmp_path):
    text = "good film\n\n" * 2000
    write(tmp_path, text)
    stat = (tmp_path / "text.txt").stat()
    other = text[:9000] + "film good" + text[9009:]
    (tmp_path / "text.txt").write_text(other)
    os.utime(tmp_path / "text.txt", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(ConfigError, match="another corpus"):
        write_shards(open_corpus(tmp_path / "text.txt"), tmp_path / "shards", tokenizer=tokenizer(),
                     sentences=sentences, watch=Silent())  # fmt: skip


def test_corpus_without_tokens(tmp_path):
    with pytest.raises(DataError, match="no text that gives tokens"):
        write(tmp_path, sentences=lambda text: [])


# --- size -----------------------------------------------------------------------------------------------------------


def test_seen_is_a_set_of_eight_bytes_a_number():
    numbers = np.random.default_rng(0).integers(0, 1 << 64, 200_000, dtype=np.uint64).tolist()
    edges = (0, (1 << 64) - 1, 1 << 56, (1 << 56) - 1)
    seen = shards._HashSet()
    assert all(map(seen.add, (*edges, *numbers)))
    assert not any(map(seen.add, (*numbers, *edges)))
    assert sum(part.nbytes for part in seen._sorted) + 8 * len(seen._new) == 8 * 200_004
    assert len(seen._new) < 1 << 16
    assert max(len(part) for part in seen._sorted) < 1_500


def test_wikipedia(real_data, tmp_path):
    words = (real_data("vocab") / "bert-base-chinese.vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    chinese = Tokenizer.from_vocab(words)
    opened = open_corpus(real_data("wiki") / "zhwiki_text_AA.tar.xz")
    first = list(islice(opened.documents(), 50))
    opened.documents = lambda: iter(first)
    made = write_shards(opened, tmp_path, tokenizer=chinese, sentences=lambda text: [text], watch=Silent())
    texts = [text for document in first for text in document.paragraphs]
    assert made.ids_T.tolist() == [i for encoding in chinese.encode(texts) for i in encoding.ids]
    assert (made.facts["documents"], made.facts["sentences"]) == (50, len(texts))
