"""`vocab`, `pretrain`, `adapt`, `fill`, `next`, `convert` as people and programs meet them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from command import Run

from filbert.cli.pretrain import _count

BRIEF = ["--size", "tiny", "--tokens", "4k", "--batch-tokens", "512"]


def write_corpus(path: Path, documents: int = 40) -> Path:
    words = ["river", "house", "stone", "green", "night", "bread", "music", "winter", "paper", "glass"]
    texts = ["".join(f"the {words[(n + k) % 10]} and {words[n % 7]}.\n" for k in range(8)) for n in range(documents)]
    path.write_text("\n".join(f"{text}number {n}.\n" for n, text in enumerate(texts)), encoding="utf-8")
    return path


def test_from_text_to_a_guess(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path / "wiki.txt")
    made = run("vocab", "wiki.txt", "-o", "words", "--size", 120, "--json")
    assert made.code == 0, made.err
    assert made.json["size"] <= 120
    trained = run("pretrain", "wiki.txt", "--vocab", "words", "-o", "mine", *BRIEF)
    assert trained.code == 0, trained.err
    for wanted in ("masked-token accuracy", "next sentence accuracy", "95 % interval", "filbert fill"):
        assert wanted in trained.out
    assert (tmp_path / "mine" / "vocab.txt").read_bytes() == (tmp_path / "words" / "vocab.txt").read_bytes()
    guessed = run("fill", "the [MASK] and bread.", "--base", "mine", "--top", 3)
    assert guessed.code == 0, guessed.err
    assert len(guessed.out.splitlines()) == 4
    told = run("fill", "the [MASK] and [MASK].", "--base", "mine", "--json").json
    assert len(told["masks"]) == 2
    assert sum(told["masks"][0]["tokens"].values()) <= 1
    after = run("next", "the river and stone.", "the house and stone.", "--base", "mine", "--json").json
    assert 0 < after["follows"] < 1
    again = run("report", "mine")
    assert again.code == 0, again.err


def test_a_recipe_gives_the_options_and_the_command_line_wins(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path / "wiki.txt")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('size = "tiny"\ntokens = "4k"\nbatch_tokens = 512\nnext_sentence = false\nlicence = "ours"\n')
    ran = run("pretrain", "wiki.txt", "--recipe", recipe, "--tokens", "2k", "-o", "mine", "--json")
    assert ran.code == 0, ran.err
    told = ran.json["training"]["config"]
    assert (told["tokens"], told["batch_tokens"], told["next_sentence"]) == (2000, 512, False)
    assert "ours" in (tmp_path / "mine" / "README.md").read_text("utf-8")


def test_what_cannot_work_is_said_before_anything_is_read(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path / "wiki.txt")
    for words, message in (
        (["pretrain"], "no corpus was given"),
        (["pretrain", "wiki.txt", "--tokens", "many"], "such as 500k, 100M or 1.5B"),
        (["pretrain", "wiki.txt", "--weights", "1;2"], "one number for each corpus"),
        (["pretrain", "wiki.txt", "--weights", "1,2"], "2 weights for 1 corpus"),
        (["pretrain", "wiki.txt", "--mask-rate", "1.5"], "mask_rate is 1.5"),
        (["pretrain", "wiki.txt", "--optimizer", "sgd"], "choose auto, adamw, muon"),
        (["pretrain", "wiki.txt", "--resume", "-o", "none"], "holds no stopped run"),
        (["pretrain", "nowhere.txt"], "does not exist"),
        (["adapt", "tiny", "wiki.txt", "-o", "on"], "is a size with random weights"),
        (["vocab", "wiki.txt", "-o", "words", "--size", "3"], "give at least 100"),
        (["fill", "a [MASK]", "--base", "tiny"], "has random weights"),
        (["convert", "wiki.txt", "-o", "on"], "wiki.txt"),
    ):
        ran = run(*words)
        assert ran.code == 2, (words, ran.err)
        assert message in ran.err, (words, ran.err)


def test_nothing_is_replaced_unasked(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path / "wiki.txt")
    assert run("pretrain", "wiki.txt", "-o", "mine", *BRIEF).code == 0
    before = (tmp_path / "mine" / "model.safetensors").read_bytes()
    again = run("pretrain", "wiki.txt", "-o", "mine", *BRIEF)
    assert again.code == 2
    assert "--overwrite" in again.err
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(("text", "count"), [("500k", 500_000), ("1.5B", 1_500_000_000), ("12,000", 12_000), (7, 7)])
def test_numbers_of_tokens_as_people_write_them(text: str, count: int) -> None:
    assert _count(text) == count


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('sise = "tiny"', "sise — is not an option"),
        ('epochs = "3"', "epochs — is '3' — write a whole number or a number"),
        ("whole_words = 1", "whole_words — is 1 — write true or false"),
        ("vocab_size = true", "vocab_size — is True — write a whole number"),
        ("size =", "cannot be read as TOML"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_by_field(run: Run, tmp_path: Path, line: str, message: str) -> None:
    write_corpus(tmp_path / "wiki.txt")
    (tmp_path / "recipe.toml").write_text(line, encoding="utf-8")
    ran = run("pretrain", "wiki.txt", "--recipe", "recipe.toml")
    assert ran.code == 2
    assert message in ran.err


def test_a_recipe_may_name_one_corpus_and_a_round_number(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path / "wiki.txt")
    recipe = 'corpora = "wiki.txt"\ntokens = 2e3\nsize = "tiny"\nbatch_tokens = 512\nhalf = true\nout = "mine"\n'
    (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
    ran = run("pretrain", "--recipe", "recipe.toml", "--json")
    assert ran.code == 0, ran.err
    whole = run("pretrain", "--recipe", "recipe.toml", "-o", "other", "--json")
    assert whole.code == 0, whole.err
    assert '"dtype": "bfloat16"' in (tmp_path / "mine" / "config.json").read_text("utf-8")


def test_a_vocabulary_is_put_into_no_other_folder(run: Run, tmp_path: Path) -> None:
    write_corpus(tmp_path / "wiki.txt")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    for more in ((), ("--overwrite",)):
        ran = run("vocab", "wiki.txt", "-o", "model", "--size", 120, *more)
        assert ran.code == 2
        assert "no vocabulary of Filbert's" in ran.err
    assert (tmp_path / "model" / "vocab.txt").read_text("utf-8") == "[PAD]\n"
    assert run("vocab", "wiki.txt", "-o", "words", "--size", 120).code == 0
    assert "--overwrite" in run("vocab", "wiki.txt", "-o", "words", "--size", 120).err
    assert run("vocab", "wiki.txt", "-o", "words", "--size", 130, "--overwrite").code == 0
    shutil.copy(tmp_path / "wiki.txt", tmp_path / "words")
    for source in ("wiki.txt", "words/wiki.txt", "words"):
        assert run("vocab", source, "-o", "words", "--size", 120, "--overwrite").code == 2
    assert (tmp_path / "words" / "wiki.txt").read_text("utf-8") == (tmp_path / "wiki.txt").read_text("utf-8")


def test_a_recipe_that_is_a_pipe_is_refused_at_once(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    ran = run("pretrain", "--recipe", "pipe.toml")
    assert ran.code == 2
    assert "pipe.toml — is no recipe" in ran.err
