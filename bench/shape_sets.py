"""The data sets of `bench/shapes.py`, one for each shape of text classification, as files that both sides read.

Each is written once to bench/work/shapes/SET/{train,validation,test}.jsonl with the keys text, text_pair and label,
labels or score. Splits are the official ones; where a set has no validation part, a tenth of its training texts is held
out, of each label alike and always the same ones. unfair_tos is split by contract: its folds are groups of contracts.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from records import DATA, HERE, Row

WORK = HERE / "work" / "shapes"
RECIPE_RATE = 2e-5  # of the README of transformers' examples
Parts = dict[str, list[Row]]


@dataclass(frozen=True)
class Shape:
    """A data set, and the options of both sides."""

    prepare: Callable[[], Parts]
    task: str
    figures: tuple[str, ...]  # keys of the test scores of a report; class_1_f1 is the F1 of the class "1"
    epochs: float  # of both sides
    kind: str  # as the table says it
    base: str = "minilm"
    pair: bool = False
    balance: str | None = None  # `--balance` of Filbert
    max_length: int = 128  # of transformers' side, as its README has it: 128 in run_glue, 512 in run_classification
    seeds: int = 3


def held_out(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Hold out a tenth of each label → the rest, the tenth."""
    of_label: dict[str, list[int]] = defaultdict(list)
    for i in np.random.default_rng(0).permutation(len(rows)).tolist():
        of_label[rows[i]["label"]].append(i)
    held = {i for found in of_label.values() for i in found[::10]}
    return [row for i, row in enumerate(rows) if i not in held], [rows[i] for i in sorted(held)]


def cells(name: str, *, header: bool = False, encoding: str = "utf-8-sig") -> Iterator[list[str]]:
    """Yield the cells of each line of a file without quotes."""
    lines = (DATA / name).read_text(encoding=encoding).split("\n")
    yield from (line.rstrip("\r").split("\t") for line in lines[header:] if line)


def goemotions() -> Parts:
    labels = (DATA / "goemotions" / "labels.txt").read_text(encoding="utf-8").split()
    return {
        part: [
            {"text": text, "labels": [labels[int(i)] for i in ids.split(",")]}
            for text, ids, _ in cells(f"goemotions/{file}.tsv", encoding="utf-8")
        ]
        for part, file in (("train", "train"), ("validation", "dev"), ("test", "test"))
    }


def unfair_tos() -> Parts:
    part_of = {0: "train", 1: "train", 2: "validation", 3: "train", 4: "test"}
    parts: Parts = {"train": [], "validation": [], "test": []}
    for line in (DATA / "unfair_tos" / "unfair_tos.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["text"].strip():
            parts[part_of[row["fold"]]].append({"text": row["text"], "labels": row["labels"]})
    return parts


def mrpc() -> Parts:
    return {
        part: [
            {"text": one, "text_pair": other, "label": label}
            for label, _, _, one, other in cells(f"mrpc/{file}.tsv", header=file == "test")
        ]
        for part, file in (("train", "train"), ("validation", "dev"), ("test", "test"))
    }


def stsb() -> Parts:
    return {
        part: [
            {"text": row[7], "text_pair": row[8], "score": float(row[9])}
            for row in cells(f"stsb/{file}.tsv", header=file == "test")
        ]
        for part, file in (("train", "train"), ("validation", "dev"), ("test", "test"))
    }


def afqmc() -> Parts:
    rows, test = (
        [{"text": one, "text_pair": other, "label": label} for one, other, label in cells(f"afqmc/{file}.txt")]
        for file in ("train", "dev")
    )
    train, validation = held_out(rows)
    return {"train": train, "validation": validation, "test": test}


def trec6() -> Parts:
    found: Parts = {}
    for part, file in (("train", "TREC.train.all"), ("test", "TREC.test.all")):
        lines = (DATA / "trec6" / file).read_text(encoding="latin-1").split("\n")
        pairs = (line.strip().split(" ", 1) for line in lines if line.strip())
        found[part] = [{"text": text, "label": label} for label, text in pairs]
    found["train"], found["validation"] = held_out(found["train"])
    return found


def csl() -> Parts:
    files = (("train", "train"), ("validation", "dev"), ("test", "test"))
    return {
        part: [{"text": row[1], "label": row[2]} for row in cells(f"csl/cls_ctg/{file}.tsv")] for part, file in files
    }


def newsgroups() -> Parts:
    found: Parts = {"train": [], "test": []}
    with tarfile.open(DATA / "20newsgroups.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            _, part, label, _ = member.name.split("/")
            text = file.read().decode("latin-1")
            found["train" if part.endswith("train") else "test"].append({"text": text, "label": label})
    found["train"], found["validation"] = held_out(found["train"])
    return found


def as_read(path: str, test: str | None = None, **reading: Any) -> Callable[[], Parts]:
    """Return what reads a set as `filbert fit` does; training texts that are held out, too, are left out."""

    def prepare() -> Parts:
        from filbert.finetuning.dataset import read_dataset
        from filbert.readers.options import ReadOptions

        found = read_dataset(DATA / path, ReadOptions(**reading), test=DATA / test if test else None, seed=0)
        parts = {
            part: [{"text": each.text, "label": each.target} for each in rows]
            for part, rows in found.splits.parts.items()
        }
        held = {row["text"] for part, rows in parts.items() if part != "train" for row in rows}
        return {**parts, "train": [row for row in parts["train"] if row["text"] not in held]}

    return prepare


F1S, BOTH, CLASSES = ("macro_f1", "micro_f1"), ("accuracy", "class_1_f1"), ("accuracy", "macro_f1")
SETS = {
    "goemotions": Shape(goemotions, "multi-label", F1S, 3, "28 labels, several a text", max_length=512),
    "unfair_tos": Shape(unfair_tos, "multi-label", F1S, 4, "9 labels, several or none, by contract", max_length=512),
    "mrpc": Shape(mrpc, "single-label", BOTH, 5, "pairs", pair=True),
    "afqmc": Shape(afqmc, "single-label", BOTH, 3, "pairs, Chinese", base="filbert-mini", pair=True),
    "stsb": Shape(stsb, "regression", ("pearson", "spearman"), 5, "scores of pairs", pair=True),
    "trec6": Shape(trec6, "single-label", CLASSES, 5, "6 classes, balanced", balance="auto"),
    "20newsgroups": Shape(
        newsgroups, "single-label", CLASSES, 3, "20 classes, balanced", balance="auto", max_length=512, seeds=1
    ),
    "sst2": Shape(as_read("sst2"), "single-label", CLASSES, 3, "2 classes"),
    "clinc150": Shape(as_read("clinc150/data_full.json"), "single-label", CLASSES, 8, "151 classes, short"),
    "imdb": Shape(
        as_read("imdb/aclImdb_labeled.tar.xz"), "single-label", CLASSES, 3, "2 classes, long", max_length=512
    ),
    "ohsumed": Shape(as_read("ohsumed.tar.xz"), "single-label", CLASSES, 3, "23 classes, medical", max_length=512),
    "chnsenticorp": Shape(
        as_read("chnsenticorp"), "single-label", CLASSES, 3, "2 classes, Chinese", base="filbert-mini"
    ),
    "tnews": Shape(
        as_read("tnews/train.tsv", "tnews/dev.tsv"),
        "single-label",
        CLASSES,
        3,
        "15 classes, Chinese",
        base="filbert-mini",
    ),
    "csl": Shape(csl, "single-label", CLASSES, 3, "13 classes, Chinese titles", base="filbert-mini"),
}


def few(parts: Parts, limit: int) -> Parts:
    """Sample so many texts of each part, and leave out labels that fewer than five of the training texts then have.

    Where a text has one class, those of a class with fewer than two training texts are left out.
    """
    drawn = {}
    for part, rows in parts.items():
        chosen = np.random.default_rng(0).permutation(len(rows))[:limit]
        drawn[part] = [dict(rows[i]) for i in sorted(chosen.tolist())]
    if "labels" in parts["train"][0]:
        counts = Counter(label for row in drawn["train"] for label in row["labels"])
        for row in (row for rows in drawn.values() for row in rows):
            row["labels"] = [label for label in row["labels"] if counts[label] >= 5]
    if "label" in parts["train"][0]:
        counts = Counter(row["label"] for row in drawn["train"])
        known = {label for label, count in counts.items() if count > 1}
        drawn = {part: [row for row in rows if row["label"] in known] for part, rows in drawn.items()}
    return drawn


def files_of(name: str, limit: int | None = None) -> Path:
    """Write the parts of a set where they are not there yet → their folder; at most `limit` texts of each, if given."""
    folder = WORK / (name if limit is None else f"{name}-{limit}")
    if (folder / "counts.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    parts = SETS[name].prepare() if limit is None else few(SETS[name].prepare(), limit)
    for part, rows in parts.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    counts = {part: len(rows) for part, rows in parts.items()}
    (folder / "counts.json").write_text(
        json.dumps(counts), encoding="utf-8"
    )  # last: a killed run left no half of a set
    return folder
