"""The gain of continued pre-training on a task's own texts before fine-tuning (Sun et al. 2019), same seeds.

A base is fine-tuned as it is, and after masked language modelling on the training texts (IMDb: and on the 50,000
without a label); without test texts. The adapted model is trained once and kept in bench/work/.
Runs are appended to bench/results/adapt.jsonl as they end, and existing ones are not repeated.

    python bench/adapt.py [imdb|ohsumed|unfair_tos …] [--base minilm] [--seeds 3] [--tokens N] [--limit N]

unfair_tos is made binary here, "unfair" where a sentence has any of the nine labels: folds 0–3 train, fold 4 tests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from encoders import apart, fine_tune, limited, made, say, weights_of
from records import DATA, HERE, Row, append, commit

from filbert import tasks
from filbert.bases.find import find_base
from filbert.cli.console import Screen
from filbert.config import PretrainConfig, TrainConfig
from filbert.corpus.prepare import Start
from filbert.files import read_json
from filbert.finetuning.dataset import Dataset, read_dataset, settled
from filbert.folder.claim import unfinished
from filbert.pretraining.run import pretrain
from filbert.readers.sources import open_source
from filbert.records import Example

RESULTS = HERE / "results" / "adapt.jsonl"
SETS = {"imdb": "accuracy", "ohsumed": "macro_f1", "unfair_tos": "macro_f1"}  # → the figure to look at

Document = Sequence[str]  # its paragraphs


def write_corpus(path: Path, documents: Iterable[Document]) -> None:
    """Write plain text that `open_corpus` reads: a paragraph a line, a blank line between documents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for document in documents:
            lines = [line.strip() for paragraph in document for line in paragraph.splitlines() if line.strip()]
            file.write("\n".join(lines) + "\n\n")


def sentences() -> list[dict[str, Any]]:
    """Read the sentences of unfair_tos."""
    path = DATA / "unfair_tos" / "unfair_tos.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["text"].strip()]


def data_of(name: str) -> Dataset:
    if name == "imdb":
        return read_dataset(DATA / "imdb" / "aclImdb_labeled.tar.xz")
    if name == "ohsumed":
        return read_dataset(DATA / "ohsumed.tar.xz")
    parts: dict[bool, list[Example]] = {False: [], True: []}
    for row in sentences():
        parts[row["fold"] == 4].append(Example((row["text"],), "unfair" if row["labels"] else "fair"))
    return settled(tasks.named("single-label"), parts[False], (), parts[True], seed=0, name=name)


def documents_of(name: str, data: Dataset) -> Iterator[Document]:
    """Yield what the encoder adapts to: training texts (a contract is one document), none that stands in test."""
    tested = {example.text for example in data.splits.test}
    if name == "unfair_tos":
        contracts = defaultdict(list)
        for row in sentences():
            if row["fold"] != 4 and row["text"] not in tested:
                contracts[row["contract"]].append(row["text"])
        yield from contracts.values()
        return
    texts = [example.text for example in (*data.splits.train, *data.splits.validation)]
    if name == "imdb":
        unlabelled = open_source(DATA / "imdb" / "aclImdb_unsup.tar.xz", labelled=False)
        texts += [example.text for example in unlabelled.examples()]
    yield from ([text] for text in texts if text not in tested)


def adapted(name: str, base: str, data: Dataset, tokens: int | None) -> Path:
    """Return the adapted model, made where it is not there yet; an interrupted run goes on."""
    config = PretrainConfig(next_sentence=False, tokens=tokens)
    recipe = hashlib.sha256(json.dumps([asdict(config), commit()]).encode()).hexdigest()[:8]
    out: Path = HERE / "work" / f"adapted-{name}-{base}-{recipe}"
    if unfinished(out) or not (out / "filbert.json").is_file():
        corpus = HERE / "work" / f"adapt-{name}.txt"
        write_corpus(corpus, documents_of(name, data))
        with Screen() as screen:
            pretrain([corpus], out, start=Start(base=base), config=config, command="bench/adapt.py", watch=screen)
    return out


def facts_of(folder: Path) -> Row:
    """Return what an adaptation took and what it came to."""
    report = read_json(folder / "report.json")
    training = {k: report["training"][k] for k in ("tokens", "epochs", "seconds", "device")}
    return {**training, "mlm_accuracy": report["scores"]["mlm_accuracy"]["value"]}


def measure(name: str, base: str, seeds: int, tokens: int | None, limit: int | None) -> None:
    data, dropped = apart(data_of(name))
    if dropped:
        print(f"{name}: {dropped:,} training texts that stand in validation or test are left out", flush=True)
    labelled, metric = limited(data, limit), SETS[name]
    found: dict[bool, list[float]] = {}
    for after in (False, True):
        folder = adapted(name, base, data, tokens) if after else None
        found[after] = []
        for seed in range(seeds):
            start = str(folder or base)
            config = TrainConfig(seed=seed, optimizer=find_base(start).optimizer)
            key: Row = {"set": name, "base": base, "adapted": after, "seed": seed, "limit": limit}
            key |= {"tokens": tokens if after else None, "settings": asdict(config), "weights": weights_of(start)}
            row = made(RESULTS, key)
            if row is None:
                out = HERE / "work" / f"adapt-{name}-{base}-{'with' if after else 'without'}-seed{seed}"
                facts = {"dropped": dropped, "metric": metric, "adaptation": facts_of(folder) if folder else None}
                row = append(RESULTS, {**key, **facts, **fine_tune(labelled, out, start, config)})
            say(row, metric)
            found[after].append(row[metric]["value"])
    gain = mean(found[True]) - mean(found[False])
    print(f"{name}, {base}: {metric} {gain:+.4f} with adaptation, mean of {seeds}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"of {', '.join(SETS)}; all by default")
    parser.add_argument("--base", default="minilm", help="name of a base model")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, help="to adapt on; `filbert adapt` chooses by default")
    parser.add_argument("--limit", type=int, help="labelled texts to fine-tune on, at most; adaptation reads them all")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.sets if name not in SETS]
    if unknown:
        parser.error(f"unknown set {unknown[0]} — choose of {', '.join(SETS)}")
    for name in arguments.sets or SETS:
        measure(name, arguments.base, arguments.seeds, arguments.tokens, arguments.limit)


if __name__ == "__main__":
    main()
