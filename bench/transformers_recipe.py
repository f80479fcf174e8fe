"""The scores of `transformers` on the same texts: its example scripts' recipe, with its own Trainer.

As `examples/pytorch/text-classification/run_glue.py` and `run_classification.py` have it, with the values of their
README: AutoModelForSequenceClassification with its problem_type, 32 texts a step, peak rate 2e-5 falling in a straight
line without warmup, AdamW without decay, fp32, at most 128 tokens; the weights of the last step, no validation. A label
of several is given where its logit is above 0. One thing differs: padding goes to the longest text of a batch, where
the scripts pad to the full length by default, which gives the same figures more slowly.

    python bench/transformers_recipe.py FOLDER --task multi-label --base BASE --epochs 3 -o OUT

FOLDER holds train.jsonl and test.jsonl as `bench/shapes.py` writes them, BASE is a folder. OUT gets outcome.json and
logits.npy, a row for each text of test.jsonl; where training would take over `--limit-minutes`, outcome.json alone.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

PROBLEMS = {
    "single-label": "single_label_classification",
    "multi-label": "multi_label_classification",
    "regression": "regression",
}
TARGETS = {"single-label": "label", "multi-label": "labels", "regression": "score"}  # keys of a row
BATCH, RATE, LENGTH = 32, 2e-5, 128  # as their README has it
LOOK_AFTER = 120.0  # seconds of training before the pace is believed
Row = dict[str, Any]


class Pace(TrainerCallback):
    """Stops a training that would take longer than the limit, as soon as its pace tells."""

    def __init__(self, limit_seconds: float | None) -> None:
        self.limit, self.began, self.too_long = limit_seconds, 0.0, False

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Compare the time that the whole would take with the limit."""
        passed = time.perf_counter() - self.began
        if self.limit is not None and passed > LOOK_AFTER and passed / state.global_step * state.max_steps > self.limit:
            self.too_long = control.should_training_stop = True


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def labels_of(task: str, rows: list[Row]) -> list[str]:
    """Return the labels of all parts, sorted; none for a regression."""
    if task == "regression":
        return []
    each = (row[TARGETS[task]] for row in rows)
    return sorted({label for cell in each for label in (cell if task == "multi-label" else [cell])})


def target(task: str, row: Row, labels: list[str]) -> Any:
    """Return what the model's own loss takes: a class index, floats of 0 and 1, or a float."""
    cell = row[TARGETS[task]]
    if task == "regression":
        return float(cell)
    return [float(label in cell) for label in labels] if task == "multi-label" else labels.index(cell)


def train(args: argparse.Namespace) -> Row:
    """Train, score the test texts → the outcome."""
    set_seed(args.seed)
    parts = {part: rows_of(args.folder / f"{part}.jsonl") for part in ("train", "test")}
    labels = labels_of(args.task, [row for rows in parts.values() for row in rows])
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    config = AutoConfig.from_pretrained(args.base, num_labels=len(labels) or 1, problem_type=PROBLEMS[args.task])
    model = AutoModelForSequenceClassification.from_pretrained(args.base, config=config, dtype=torch.float32)
    encoded = {
        part: [
            {
                **tokenizer(row["text"], row.get("text_pair"), truncation=True, max_length=args.max_length),
                "labels": target(args.task, row, labels),
            }
            for row in rows
        ]
        for part, rows in parts.items()
    }
    pace = Pace(60 * args.limit_minutes if args.limit_minutes else None)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(args.out),
            num_train_epochs=args.epochs,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=BATCH,
            learning_rate=args.learning_rate,
            seed=args.seed,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            logging_steps=50,
            disable_tqdm=True,
        ),
        train_dataset=encoded["train"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[pace],
    )
    began = time.perf_counter()
    trainer.train()
    seconds, state = time.perf_counter() - began, trainer.state
    read = state.global_step / state.max_steps * args.epochs * sum(len(row["input_ids"]) for row in encoded["train"])
    outcome = {
        "labels": labels,
        "too_long": pace.too_long,
        "training": {
            "seconds": round(seconds, 1),
            "steps": state.global_step,
            "steps_planned": state.max_steps,
            "tokens_per_second": round(read / seconds, 1),
            "threads": torch.get_num_threads(),
        },
        "versions": {name: version(name) for name in ("torch", "transformers", "accelerate")},
    }
    if not pace.too_long:
        np.save(args.out / "logits.npy", trainer.predict(encoded["test"]).predictions, allow_pickle=False)
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", choices=tuple(PROBLEMS), required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--learning-rate", type=float, default=RATE)
    parser.add_argument("--max-length", type=int, default=LENGTH)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--limit-minutes", type=float)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    outcome = train(args)
    (args.out / "outcome.json").write_text(json.dumps(outcome, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
