"""The commands and the Python of README.md work as they stand there."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch
from command import TRAIN, Run, rows_of, write_texts
from small import VOCAB, encoder, needs_minilm

from filbert.folder.layout import hugging_face_config, to_hugging_face
from filbert.inference.writers import open_writer
from filbert.model.native_encoder import library

ROOT = Path(__file__).parents[2]


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def write_corpus(path: Path) -> None:
    words = ["river", "house", "stone", "green", "night", "bread", "music", "winter", "paper", "glass"]
    documents = ["".join(f"the {words[(n + k) % 10]} and {words[n % 7]}.\n" for k in range(8)) for n in range(40)]
    documents[0] += f"{path.stem} is not the same.\n"  # as the others
    path.write_text("\n".join(documents), encoding="utf-8")


def write_workbooks_and_pairs(folder: Path) -> None:
    """Two spreadsheets, pairs of texts with a label, and classes of uneven size."""
    for name, texts in (("tickets", 40), ("new", 4)):
        with open_writer(folder / f"{name}.xlsx", ["text", "label"]) as write:
            for row in rows_of(write_texts(folder / "rows.csv", texts)):
                write(row)
    pairs = [
        f"how do I log in {n},where is the {('login', 'menu')[n % 2]} {n},{('same', 'other')[n % 2]}" for n in range(40)
    ]
    (folder / "pairs.csv").write_text("\n".join(["text,text_pair,label", *pairs]) + "\n", encoding="utf-8")
    rare = [f"film number {n},{'rare' if n % 8 == 0 else 'usual'}" for n in range(64)]
    (folder / "rare.csv").write_text("\n".join(["text,label", *rare]) + "\n", encoding="utf-8")
    for name, texts in (("few", 16), ("contracts", 60), ("intents", 240)):
        write_texts(folder / f"{name}.csv", texts)
    write_texts(folder / "mails.csv", header="text,topic")


def write_questions(folder: Path) -> None:
    """Questions in the layout of SQuAD, and a folder of texts to ask."""
    text = "The buyer pays for returns. We pay for broken goods."
    paragraphs = [
        {"context": f"{n}. {text}", "qas": [{"question": f"Who pays? {n}", "answers": [{"text": "The buyer"}]}]}
        for n in range(20)
    ]
    (folder / "squad.json").write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}), encoding="utf-8")
    (folder / "policies").mkdir()
    (folder / "policies" / "returns.txt").write_text(text, encoding="utf-8")


def write_old_checkpoint(folder: Path) -> None:
    """A BERT as it was shared in 2019: weights pickled, the vocabulary as a list."""
    folder.mkdir()
    net = encoder()
    tensors = {f"bert.{name}": tensor for name, tensor in to_hugging_face(net.state_dict()).items()}
    torch.save(tensors, folder / "pytorch_model.bin")  # noqa: TID251
    (folder / "config.json").write_text(json.dumps(hugging_face_config(net.config, "BertModel")), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")


SHORTER = {  # for the tests
    "--processes 4": "--processes 2",
    "--tune 30min": "--tune 2",
    "--ensemble 3": "--ensemble 2",
    "--size mini": "--size tiny",
    "recipes/topics.toml": str(ROOT / "recipes" / "topics.toml"),
}
BRIEF = {  # what keeps a command of the README short
    "pretrain": ["--size", "tiny", "--tokens", "4000", "--batch-tokens", "512"],
    "adapt": ["--tokens", "600", "--batch-tokens", "512"],
    "vocab": ["--size", "200"],
}


@needs_minilm
def test_the_commands_of_the_readme_work(run: Run, tmp_path: Path) -> None:
    for name, texts in (("reviews.csv", 40), ("new.csv", 4), ("labelled.csv", 10)):
        write_texts(tmp_path / name, texts)
    write_workbooks_and_pairs(tmp_path)
    write_questions(tmp_path)
    (tmp_path / "notes").mkdir()
    for path in (tmp_path / name for name in ("wiki.txt", "more.txt", "notes/one.txt", "notes/two.txt")):
        write_corpus(path)
    (tmp_path / "logs").mkdir()
    for name in ("a.csv", "b.csv"):
        write_texts(tmp_path / "logs" / name, 4)
    write_old_checkpoint(tmp_path / "uncased_L-12_H-768_A-12")
    listed = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("filbert ")]
    elsewhere = ("filbert serve ", "filbert label ", "filbert push ", "filbert verify ")  # tests elsewhere
    listed = [line for line in listed if not line.startswith(elsewhere)]
    lines = [line for several in listed for line in several.split(" && ")]
    assert len(lines) >= 6
    lines.insert(0, "filbert fit reviews.csv")  # as the story above them does
    for line in lines:
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        words = shlex.split(line, comments=True)[1:]
        if "int8" in words and library() is None:
            continue
        if words[:2] == ["adapt", "minilm"]:
            words[1] = (
                "runs/mine"  # minilm takes 55 s of the processor here: tests/pretraining/test_run.py adapts such a base
            )
        brief = TRAIN if words[0] == "fit" else BRIEF.get(words[0], [])
        if "--base" in words and words[0] == "fit":
            brief = [*brief, *words[words.index("--base") :]]  # of two, the last counts
        if "--few-shot" in words:
            brief = [*TRAIN, "--base", "filbert-mini"]  # not from random weights
        ran = run(*words, *brief)
        assert ran.code == 0 or (words[0] == "doctor" and ran.code == 1), f"{line}\n{ran.err}"


def test_the_python_of_the_readme_works(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "reviews.csv")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/reviews_en").symlink_to(model)
    (tmp_path / "filbert").mkdir()
    (tmp_path / "filbert/samples").symlink_to(ROOT / "filbert/samples")
    (code,) = blocks("python")
    assert 'base="minilm"' in code
    (tmp_path / "readme.py").write_text(code.replace('base="minilm"', 'base="tiny"'), encoding="utf-8")
    runpy.run_path(str(tmp_path / "readme.py"))
