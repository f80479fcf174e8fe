"""Pre-training speed beside a `transformers` loop, same masked texts, same starting weights, same process.

The rival: BertForPreTraining as `run_mlm` trains it, fp32, sdpa, dropout 0.1, padded to the longest text of the batch,
the vocabulary's logits for all positions with label -100 where nothing is masked, AdamW. Also a rival that is tuned:
bf16 autocast, no dropout, fused AdamW. Ours: the training step of `filbert pretrain`, which has no dropout by default.

All use the same texts, paired and masked by our feed, whose time is part of ours but not of the rivals', who get padded
batches; the time of padding is not counted. Runs alternate, medians are compared, the losses are printed, and before
training both models must have the same loss on the first batch.

    python bench/pretrain_speed.py [--texts 64] [--rounds 3] [--write]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from adapt import write_corpus
from records import DATA, HERE
from speeds import TUNED_TYPE, alternate, circumstances, compared, record
from torch import Tensor
from transformers import BertForPreTraining

from filbert.config import EncoderConfig, PretrainConfig
from filbert.corpus.pool import Pool
from filbert.corpus.shards import write_shards
from filbert.model.device import native_bf16
from filbert.model.encoder import Encoder
from filbert.model.run import tensors_of
from filbert.pretraining.folder import save_pretrained
from filbert.pretraining.job import CorpusFeed, PretrainJob
from filbert.pretraining.network import PreTrainer
from filbert.pretraining.run import BATCH_TOKENS
from filbert.progress import Silent
from filbert.readers.documents import open_corpus
from filbert.records import PackedBatch
from filbert.text.sentences import split
from filbert.text.tokenizer import Tokenizer
from filbert.text.vocab import learn
from filbert.training.distributed import ProcessGroup
from filbert.training.loop import Loop
from filbert.training.plan import Plan

RESULTS = HERE / "results" / "pretrain_speed.jsonl"
SLICES = {"enwiki_text_AA.tar.xz": 4_000_000, "zhwiki_text_AA.tar.xz": 1_300_000}  # characters, about 4 MB each
VOCABULARY, LENGTH, RATE = 16_000, 128, 1e-4
STEPS = 3  # of a round
DEFAULT, TUNED = "transformers, fp32, sdpa, defaults", f"transformers, {TUNED_TYPE}, no dropout, fused AdamW"
OURS_FP32, OURS = "filbert, fp32", "filbert, default"


def documents() -> Iterator[tuple[str, ...]]:
    """Articles of both languages, the first ones."""
    for name, wanted in SLICES.items():
        for document in open_corpus(DATA / "wiki" / name).documents():
            yield document.paragraphs
            wanted -= sum(map(len, document.paragraphs))
            if wanted < 0:
                break


def feed_of(scratch: Path, texts: int) -> CorpusFeed:
    """Pairs of at most 128 tokens, about `texts` of them a step."""
    write_corpus(scratch / "wiki.txt", documents())
    corpus = open_corpus(scratch / "wiki.txt")
    tokenizer = learn([paragraph for each in corpus.documents() for paragraph in each.paragraphs], VOCABULARY)
    pool = Pool([write_shards(corpus, scratch / "shards", tokenizer=tokenizer, sentences=split, watch=Silent())])
    config = PretrainConfig(length=LENGTH, long_share=0.0, warmup=0.0, batch_tokens=BATCH_TOKENS)
    pairs = len(pool.plan(LENGTH, pairs=True, seed=config.seed, epoch=0))
    mean = CorpusFeed(pool, config, tokenizer).tokens / pairs
    return CorpusFeed(pool, replace(config, batch_tokens=max(512, round(texts * mean))), tokenizer)


def fresh(tokenizer: Tokenizer) -> PreTrainer:
    """Return the randomly initialised model that all sides start from."""
    generator = torch.Generator().manual_seed(0)
    shape = replace(EncoderConfig.of_size("mini", len(tokenizer)), dropout=PretrainConfig.dropout)
    return PreTrainer(Encoder(shape, generator), generator)


def padded(batches: list[PackedBatch], pad: int) -> dict[str, Tensor]:
    """The texts of a step as one padded batch in the rival's terms."""
    fields: dict[str, list[Tensor]] = {"input_ids": [], "token_type_ids": [], "attention_mask": [], "labels": []}
    follows: list[int] = []
    for batch in batches:
        assert batch.masked_M is not None
        assert batch.originals_M is not None
        assert batch.targets_B is not None
        labels_T = np.full(len(batch.ids_T), -100)
        labels_T[batch.masked_M] = batch.originals_M
        packed_T = (batch.ids_T, batch.segments_T, np.ones(len(batch.ids_T)), labels_T)
        for column, values_T in zip(fields.values(), packed_T, strict=True):
            column += torch.as_tensor(values_T, dtype=torch.int64).split(np.diff(batch.starts_B).tolist())
        follows += np.where(batch.targets_B < 0, -100, batch.targets_B).tolist()
    fill = {"input_ids": pad, "labels": -100}
    tensors = {
        name: torch.nn.utils.rnn.pad_sequence(column, batch_first=True, padding_value=fill.get(name, 0))
        for name, column in fields.items()
    }
    return {**tensors, "next_sentence_label": torch.tensor(follows)}


class Rival:
    """The loop of `transformers`, as it comes or tuned."""

    def __init__(self, folder: Path, feed: CorpusFeed, *, tuned: bool) -> None:
        torch.manual_seed(0)
        share = 0.0 if tuned else 0.1
        self.feed, self.tuned, self.steps = feed, tuned, 0
        self.model = BertForPreTraining.from_pretrained(
            folder,
            attn_implementation="sdpa",
            dtype=torch.float32,
            hidden_dropout_prob=share,
            attention_probs_dropout_prob=share,
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, fused=tuned)

    def run(self) -> tuple[float, float]:
        """A round → real tokens/s, mean loss."""
        steps = range(self.steps, self.steps + STEPS)
        self.steps += STEPS
        batches = [padded(self.feed.batches(step, 0.0), self.feed.tokenizer.pad) for step in steps]
        self.model.train()
        losses, began = [], time.perf_counter()
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=self.tuned and native_bf16()):
                loss = self.model(**batch).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.item())
        seconds = time.perf_counter() - began
        return sum(int(batch["attention_mask"].sum()) for batch in batches) / seconds, float(np.mean(losses))


class Ours:
    """The training step of `filbert pretrain`."""

    def __init__(self, folder: Path, feed: CorpusFeed, precision: str) -> None:
        torch.manual_seed(0)
        model = fresh(feed.tokenizer)
        self.loop = Loop(
            PretrainJob(model, [], True, "cpu", ProcessGroup()),
            feed,
            replace(feed.config, precision=precision, optimizer="adamw"),
            Plan(1000.0, LENGTH),  # so long that the schedule stays at its peak
            layers=model.encoder.config.layers,
            rate=RATE,
            folder=folder / "checkpoints",
            identity={},
        )

    def run(self) -> tuple[float, float]:
        """A round → real tokens/s, mean loss."""
        before, began = self.loop.result.tokens, time.perf_counter()
        losses = [sum(self.loop.step()[0]) for _ in range(STEPS)]
        seconds = time.perf_counter() - began
        return (self.loop.result.tokens - before) / seconds, float(np.mean(losses))


@torch.inference_mode()
def first_losses(rival: Rival, feed: CorpusFeed) -> tuple[float, float]:
    """The loss of the first step, theirs and ours, before training and without dropout; the same but for rounding."""
    batches, job = feed.batches(0, 0.0), PretrainJob(fresh(feed.tokenizer).eval(), [], True, "cpu", ProcessGroup())
    sums = torch.stack([job.loss(batch, tensors_of(batch, "cpu")) for batch in batches]).sum(0)
    units = torch.tensor([job.units(batch) for batch in batches]).sum(0)
    theirs = float(rival.model.eval()(**padded(batches, feed.tokenizer.pad)).loss)
    ours = float((sums / units).sum())
    assert abs(theirs - ours) < 1e-3, f"the same texts and weights give a loss of {theirs} there and {ours} here"
    return theirs, ours


def measure(texts: int, rounds: int) -> dict[str, Any]:
    """Run all sides in turn → the record."""
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        feed = feed_of(scratch, texts)
        save_pretrained(scratch / "start", fresh(feed.tokenizer), feed.tokenizer, {"max_length": 512})
        sides: dict[str, Rival | Ours] = {
            DEFAULT: (rival := Rival(scratch / "start", feed, tuned=False)),
            TUNED: Rival(scratch / "start", feed, tuned=True),
            **({OURS_FP32: Ours(scratch, feed, "fp32")} if native_bf16() else {}),
            OURS: Ours(scratch, feed, "auto"),
        }
        first = first_losses(rival, feed)
        speeds = compared(alternate(sides, rounds), DEFAULT, TUNED)
    facts = {
        "first_loss": {"transformers": first[0], "filbert": first[1]},
        "texts": texts,
        "step_tokens": feed.config.batch_tokens,
        "vocabulary": len(feed.tokenizer),
    }
    return {**speeds, **facts, **circumstances("torch", "transformers")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=64, help="of a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="append to bench/results/pretrain_speed.jsonl")
    args = parser.parse_args()
    record(RESULTS, measure(args.texts, args.rounds), write=args.write)


if __name__ == "__main__":
    main()
