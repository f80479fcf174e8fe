"""What `filbert label` saves: 200 questions of trec6 chosen as it chooses, beside 200 taken at random.

Both begin with the same random texts, in the same order; the answers are the file's. Scored on the test questions, and
on the training questions that were not asked about, which are more: the linear model on the base's vectors that the
page fits; on the test questions with `--finetune` BERT by `filbert fit`, too.

    python bench/active_labelling.py [--draws 5] [--labels 200] [--base minilm] [--finetune] [--write]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from records import HERE, Row, append
from scipy.stats import t as student
from shape_sets import files_of

from filbert.labelling import choose
from filbert.labelling.vectors import Vectors
from filbert.records import FloatArray

RESULTS = HERE / "results" / "active_labelling.jsonl"
AT = (50, 100, 150, 200)


def rows_of(part: str) -> tuple[list[str], list[str]]:
    lines = (files_of("trec6") / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def chosen(vectors_ND: FloatArray, labels_N: list[str], most: int, seed: int, share: float) -> list[int]:
    """Return the texts that are asked about, in order: each answer is followed by a new fit, as on the page."""
    queue, taken, unsure = choose.Queue(len(labels_N), share=share, seed=seed), list[int](), list[int]()
    while len(taken) < most:
        found = queue.next(set(taken), unsure)
        assert found is not None
        taken.append(found[0])
        if share < 1 and len(taken) >= choose.FEWEST and len({labels_N[i] for i in taken}) > 1:
            model = choose.fitted(vectors_ND[taken], [labels_N[i] for i in taken])
            unsure = np.argsort(choose.margins(model.predict_proba(vectors_ND)), kind="stable").tolist()
    return taken


def linear_accuracy(vectors_LD: FloatArray, labels_L: list[str], tests_ND: FloatArray, true_N: list[str]) -> float:
    return float((choose.fitted(vectors_LD, labels_L).predict(tests_ND) == np.asarray(true_N)).mean())


def bert_accuracy(texts: list[str], labels: list[str], base: str, seed: int) -> float:
    """Return the test accuracy of `filbert fit` on these texts."""
    with tempfile.TemporaryDirectory(prefix="filbert-") as folder:
        data, out = Path(folder) / "train.jsonl", Path(folder) / "run"
        rows = (json.dumps({"text": text, "label": label}) + "\n" for text, label in zip(texts, labels, strict=True))
        data.write_text("".join(rows), encoding="utf-8")
        command = [sys.executable, "-m", "filbert", "fit", str(data), "--task", "single-label", "--base", base]
        command += ["--test", str(files_of("trec6") / "test.jsonl"), "--seed", str(seed), "-o", str(out)]
        done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return float(json.loads((out / "report.json").read_text("utf-8"))["scores"]["test"]["accuracy"]["value"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--base", default="minilm")
    parser.add_argument("--finetune", action="store_true")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    (texts, labels), (test_texts, true) = rows_of("train"), rows_of("test")
    vectors = Vectors(args.base)
    raw_ND = np.concatenate([vectors([(text,) for text in texts]), vectors([(text,) for text in test_texts])])
    every_ND = choose.directions(raw_ND)
    vectors_ND, tests_ND = every_ND[: len(texts)], every_ND[len(texts) :]
    kinds = ["linear", "linear on the rest", *(["bert"] if args.finetune else [])]
    found: Row = {f"{kind} {who}": [] for kind in kinds for who in ("chosen", "random")}
    curve: Row = {"chosen": [], "random": []}
    for seed in range(args.draws):
        for who, share in (("chosen", 0.2), ("random", 1.0)):
            taken = chosen(vectors_ND, labels, args.labels, seed, share)
            steps = [n for n in AT if n <= args.labels]
            curve[who].append(
                [linear_accuracy(vectors_ND[taken[:n]], [labels[i] for i in taken[:n]], tests_ND, true) for n in steps]
            )
            own = [labels[i] for i in taken]
            found[f"linear {who}"].append(linear_accuracy(vectors_ND[taken], own, tests_ND, true))
            rest = sorted(set(range(len(texts))) - set(taken))
            right = linear_accuracy(vectors_ND[taken], own, vectors_ND[rest], [labels[i] for i in rest])
            found[f"linear on the rest {who}"].append(right)
            if args.finetune:
                found[f"bert {who}"].append(bert_accuracy([texts[i] for i in taken], own, args.base, seed))
            print(f"draw {seed}, {who}: {curve[who][-1]}", *(found[f"{kind} {who}"][-1] for kind in kinds), flush=True)
    for kind in kinds:
        gains = np.array(found[f"{kind} chosen"]) - np.array(found[f"{kind} random"])
        half = student.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / len(gains) ** 0.5
        means = [float(np.mean(found[f"{kind} {who}"])) for who in ("chosen", "random")]
        print(f"{kind}: chosen {means[0]:.4f}, random {means[1]:.4f}, gain {gains.mean():+.4f} ± {half:.4f} (95 %)")
    if args.write:
        append(RESULTS, {"set": "trec6", "base": args.base, "labels": args.labels, **found, "curve": curve, "at": AT})


if __name__ == "__main__":
    main()
