"""Question answering the way of `transformers`' example `run_qa.py`, on the same questions: training and answering.

Values of its README for SQuAD: AutoModelForQuestionAnswering, 384 tokens padded to full length, windows that share 128,
12 windows a step, peak rate 3e-5 falling in a straight line, AdamW without decay, gradients clipped at 1, fp32, the
weights of the last step. Answers as its `postprocess_qa_predictions`: the best 20 starts by the best 20 ends of each
window, at most 30 tokens. Its loop is written out here, as the Trainer of `transformers` needs `accelerate`.

    python bench/squad_recipe.py TRAIN TEST --base BASE --epochs 2 -o OUT [--answers-only] [--dtype bf16]

TRAIN and TEST are files of SQuAD's layout, BASE is a folder. OUT gets outcome.json: the answer to each question of TEST
in their order, and what training and answering took.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, get_linear_schedule_with_warmup, set_seed

LENGTH, STRIDE, BATCH, RATE, EVAL_BATCH, BEST, LONGEST = 384, 128, 12, 3e-5, 8, 20, 30
Row = dict[str, Any]


def questions_of(path: Path) -> list[Row]:
    """Return question, context and the first answer of each question, with the places that Filbert reads."""
    from filbert.readers.options import ReadOptions
    from filbert.readers.sources import open_source
    from filbert.tasks import of_answers

    options = ReadOptions(on_bad_rows="quarantine")
    source = open_source(path, options, rejects=path.with_suffix(".rejects.jsonl"))
    reading = of_answers().read((), {})
    examples = source.examples(parse=reading.parse, locate=reading.locate)
    return [{"question": e.inputs[0].lstrip(), "context": e.inputs[1], "answers": e.target} for e in examples]


def windows_of(tokenizer: Any, rows: list[Row]) -> Any:
    return tokenizer(
        [row["question"] for row in rows],
        [row["context"] for row in rows],
        truncation="only_second",
        max_length=LENGTH,
        stride=STRIDE,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
    )


def targets_of(found: Any, rows: list[Row]) -> torch.Tensor:
    """Return start and end of the answer in each window, 0 and 0 where it is not in it."""
    targets = np.zeros((len(found["input_ids"]), 2), np.int64)
    for i, (offsets, number) in enumerate(
        zip(found["offset_mapping"], found["overflow_to_sample_mapping"], strict=True)
    ):
        answers = rows[number]["answers"]
        parts = found.sequence_ids(i)
        first, last = parts.index(1), len(parts) - 1 - parts[::-1].index(1)
        if not answers or offsets[first][0] > answers[0].start or offsets[last][1] < answers[0].end:
            continue
        targets[i] = (
            max(at for at in range(first, last + 1) if offsets[at][0] <= answers[0].start),
            min(at for at in range(first, last + 1) if offsets[at][1] >= answers[0].end),
        )
    return torch.from_numpy(targets)


def train(model: Any, tokenizer: Any, rows: list[Row], epochs: float, seed: int) -> Row:
    """Train for so many epochs → windows, steps and seconds."""
    found = windows_of(tokenizer, rows)
    ids, mask, segments = (torch.tensor(found[key]) for key in ("input_ids", "attention_mask", "token_type_ids"))
    targets = targets_of(found, rows)
    steps = max(1, round(epochs * -(-len(ids) // BATCH)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0)
    schedule = get_linear_schedule_with_warmup(optimizer, 0, steps)
    random, order, began = torch.Generator().manual_seed(seed), torch.empty(0, dtype=torch.long), time.perf_counter()
    model.train()
    for _ in range(steps):
        if not len(order):
            order = torch.randperm(len(ids), generator=random)
        chosen, order = order[:BATCH], order[BATCH:]
        out = model(
            input_ids=ids[chosen],
            attention_mask=mask[chosen],
            token_type_ids=segments[chosen],
            start_positions=targets[chosen, 0],
            end_positions=targets[chosen, 1],
        )
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    seconds = time.perf_counter() - began
    return {"windows": len(ids), "steps": steps, "seconds": seconds, "windows_per_second": steps * BATCH / seconds}


@torch.inference_mode()
def answer(
    model: Any, tokenizer: Any, rows: list[Row], dtype: str = "fp32", longest: int = LONGEST
) -> tuple[list[str], float]:
    """Return the answers, and the seconds that they took, tokens included."""
    model.eval().to(torch.bfloat16 if dtype == "bf16" else torch.float32)
    began = time.perf_counter()
    found = windows_of(tokenizer, rows)
    ids, mask, segments = (torch.tensor(found[key]) for key in ("input_ids", "attention_mask", "token_type_ids"))
    best: list[tuple[float, str]] = [(-np.inf, "")] * len(rows)
    for begin in range(0, len(ids), EVAL_BATCH):
        part = slice(begin, begin + EVAL_BATCH)
        out = model(input_ids=ids[part], attention_mask=mask[part], token_type_ids=segments[part])
        pairs = zip(out.start_logits.float().numpy(), out.end_logits.float().numpy(), strict=True)
        for i, (start_L, end_L) in enumerate(pairs, begin):
            number, offsets = found["overflow_to_sample_mapping"][i], found["offset_mapping"][i]
            parts, context = found.sequence_ids(i), rows[found["overflow_to_sample_mapping"][i]]["context"]
            for start in np.argsort(-start_L)[:BEST]:
                for end in np.argsort(-end_L)[:BEST]:
                    if parts[start] != 1 or parts[end] != 1 or not 0 <= end - start < longest:
                        continue
                    score = float(start_L[start] + end_L[end])
                    if score > best[number][0]:
                        best[number] = score, context[offsets[start][0] : offsets[end][1]]
    return [text for _, text in best], time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--longest", type=int, default=LONGEST, help="tokens of an answer")
    parser.add_argument("--answers-only", action="store_true", help="BASE is a finished model: do not train it")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    model = AutoModelForQuestionAnswering.from_pretrained(args.base)
    trained = None if args.answers_only else train(model, tokenizer, questions_of(args.train), args.epochs, args.seed)
    answers, seconds = answer(model, tokenizer, questions_of(args.test), args.dtype, args.longest)
    args.out.mkdir(parents=True, exist_ok=True)
    outcome = {"training": trained, "answers": answers, "seconds": seconds}
    (args.out / "outcome.json").write_text(json.dumps(outcome, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
