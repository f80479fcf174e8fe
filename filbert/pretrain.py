"""From raw text to a pre-trained BERT: everything `filbert pretrain` and `filbert adapt` do, in order.

    corpora → vocabulary → shards → plan → train → save → measure what was saved → report

From a size it starts at random, from a base model it goes on (Gururangan et al. 2020 call that domain adaptation).
Fine-tuning is in fit.py; the loop is train.py's.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import filbert
from filbert.bases import find_base
from filbert.batching import split_by_budget
from filbert.checkpoint import load_pretrained, save_pretrained, write_json
from filbert.cloze import pseudo_perplexity
from filbert.config import EncoderConfig, PretrainConfig
from filbert.crew import Crew, join, leave
from filbert.data.corpus import open_corpus
from filbert.data.instances import Long, Pool
from filbert.data.shards import Shards, open_shards, write_shards
from filbert.engine import best_device
from filbert.errors import ConfigError
from filbert.model.encoder import Dropout, Encoder
from filbert.model.forward import Tensors, tensors_of, working_dtype
from filbert.optimise import pretraining_rate
from filbert.plan import Plan
from filbert.records import IntArray, PackedBatch
from filbert.report import write_report
from filbert.runs import claim, locked, refuse_taken
from filbert.tasks import pretrain as task
from filbert.text.sentences import split
from filbert.text.tokenizer import Tokenizer
from filbert.text.vocab import learn
from filbert.text.words import word_starts
from filbert.train import Loop, Trained, newest_checkpoint
from filbert.watch import Silent, Watcher

VALIDATIONS = 20  # of a run
VALIDATION_TOKENS = 50_000  # of each; the last measurement takes all that is held out
READY = "ready.json"  # tells the other processes of a run that the shards are there


@dataclass(frozen=True)
class Pretrained:
    """A finished run: its folder and what report.json says."""

    folder: Path
    report: dict[str, Any]


@dataclass
class CorpusFeed:
    """The batches of a pre-training run: the texts of each epoch drawn and masked anew, a step always the same."""

    pool: Pool
    config: PretrainConfig
    tokenizer: Tokenizer
    crew: Crew = field(default_factory=Crew)
    _plans: dict[tuple[int, int], tuple[Long, Long]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.masking = task.Masking.of(self.tokenizer, self.config.mask_rate, self.config.whole_words)
        _, ends_N = self._plan(self.config.length, 0)
        self.tokens = float(ends_N[-1]) if len(ends_N) else 0.0
        self.steps = max(1, round(self.tokens / self.config.batch_tokens))

    def rows(self, step: int, *, length: int | None = None) -> IntArray:
        """Return the numbers, in its epoch, of a step's texts: as many as fill an equal share of the epoch's tokens."""
        epoch, i = divmod(step, self.steps)
        _, ends_N = self._plan(length or self.config.length, epoch)
        first, last = np.searchsorted(ends_N, [ends_N[-1] * (i + n) / self.steps for n in (0, 1)], side="left")
        return np.arange(first, last + (i == self.steps - 1), dtype=np.int32)[: len(ends_N)]

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return this process's parts of a step; towards the end of the run the texts are the long ones."""
        long = progress >= 1 - self.config.long_share
        length = self.config.long_length if long else self.config.length
        numbers = self.rows(step, length=length)[self.crew.rank :: self.crew.size]
        epoch = step // self.steps
        rows_N5, _ = self._plan(length, epoch)
        key = (self.config.seed << 20) + epoch
        return self._packed(rows_N5, numbers, key)

    def held_out(self, tokens: int | None = None, crew: Crew | None = None) -> list[PackedBatch]:
        """Return the texts that are never trained on, masked the same way every time."""
        rows_N5 = self.pool.plan(self.config.length, pairs=self.config.next_sentence, seed=0, epoch=0, held_out=True)
        ends_N = np.cumsum(_lengths(rows_N5))
        count = len(rows_N5) if tokens is None else int(np.searchsorted(ends_N, tokens)) + 1
        crew = crew or Crew()
        numbers = np.arange(min(count, len(rows_N5)), dtype=np.int32)[crew.rank :: crew.size]
        return self._packed(rows_N5, numbers, key=0)

    def _packed(self, rows_N5: Long, numbers: IntArray, key: int) -> list[PackedBatch]:
        lengths = _lengths(rows_N5[numbers])
        return [
            task.features(
                self.pool, rows_N5[part], part.astype(np.int64), tokenizer=self.tokenizer, masking=self.masking, key=key
            )
            for part in split_by_budget(numbers, lengths.tolist(), self.config.tokens_per_batch)
        ]

    def _plan(self, length: int, epoch: int) -> tuple[Long, Long]:
        """Return the texts of an epoch and where each ends, in tokens; the plans of other epochs are forgotten."""
        key = (length, epoch)
        if key not in self._plans:
            rows_N5 = self.pool.plan(length, pairs=self.config.next_sentence, seed=self.config.seed, epoch=epoch)
            kept = {k: v for k, v in self._plans.items() if k[0] != length}
            self._plans = {**kept, key: (rows_N5, np.cumsum(_lengths(rows_N5)))}
        return self._plans[key]


def default_passes(tokens: float) -> float:
    """Passes over the corpora when none are asked for: one, or up to ten where that is less than 5 M tokens.

    >>> default_passes(65e6), default_passes(2e6), default_passes(1e5)
    (1.0, 2.5, 10.0)
    """
    return float(min(10.0, max(1.0, 5e6 / max(tokens, 1.0))))


def _lengths(rows_N5: Long) -> Long:
    a_N, b_N = rows_N5[:, 1] - rows_N5[:, 0], rows_N5[:, 3] - rows_N5[:, 2]
    lengths_N: Long = a_N + 2 + np.where(b_N > 0, b_N + 1, 0)
    return lengths_N


class PretrainJob:
    """What the training loop needs to know of pre-training."""

    keep = ("pooler", "next")

    def __init__(self, model: task.PreTrainer, held_out: Sequence[PackedBatch], pairs: bool, device: str, crew: Crew):
        self.model = model
        self.losses = ("mlm_loss", "nsp_loss") if pairs else ("mlm_loss",)
        self.device, self.crew = device, crew
        self._held_out = held_out

    def loss(self, batch: PackedBatch, tensors: Tensors) -> Tensor:
        """Return the summed losses: over masked tokens, and over pairs."""
        masked_M, originals_M, targets_B = task.tensors_of_targets(batch, self.device)
        token_MD, next_B2 = self.model(*tensors, masked_M)
        return task.loss(self.model, token_MD, next_B2, originals_M, targets_B)[: len(self.losses)]

    def units(self, batch: PackedBatch) -> tuple[int, ...]:
        """Return the number of masked tokens, and of pairs."""
        assert batch.masked_M is not None
        assert batch.targets_B is not None
        return (len(batch.masked_M), int((batch.targets_B >= 0).sum()))[: len(self.losses)]

    def validate(self) -> tuple[tuple[float, ...], dict[str, float]]:
        """Return the loss on held-out text, negated, and the figures for the log."""
        sums = np.zeros(6)
        for batch in self._held_out:
            losses_M, right_M, right_P, nsp = held_out_answers(self.model, batch, self.device)
            sums += (losses_M.sum(), right_M.sum(), len(right_M), nsp, right_P.sum(), len(right_P))
        mlm, right, tokens, nsp, followed, pairs = self.crew.total(sums.tolist())
        figures = {"mlm_loss": mlm / max(tokens, 1), "mlm_accuracy": right / max(tokens, 1)}
        if pairs and "nsp_loss" in self.losses:
            figures |= {"nsp_loss": nsp / pairs, "nsp_accuracy": followed / pairs}
        loss = figures["mlm_loss"] + figures.get("nsp_loss", 0.0)
        return (-loss,), {"loss": loss, **figures}


@torch.inference_mode()
def held_out_answers(
    model: task.PreTrainer, batch: PackedBatch, device: str
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], float]:
    """Return losses_M, right_M of the masked tokens, right_P of the pairs, and the pairs' summed loss."""
    masked_M, originals_M, targets_B = task.tensors_of_targets(batch, device)
    token_MD, next_B2 = model(*tensors_of(batch, device), masked_M)
    losses, right = [], []
    for begin in range(0, len(token_MD), task.ROWS):
        rows = slice(begin, begin + task.ROWS)
        logits_RV = model.token_logits(token_MD[rows])
        losses.append(torch.nn.functional.cross_entropy(logits_RV, originals_M[rows], reduction="none"))
        right.append(logits_RV.argmax(-1) == originals_M[rows])
    pair_B = targets_B >= 0
    nsp = torch.nn.functional.cross_entropy(next_B2[pair_B].float(), targets_B[pair_B], reduction="sum")
    right_P = next_B2[pair_B].argmax(-1) == targets_B[pair_B]
    return (torch.cat(losses).cpu().numpy(), torch.cat(right).cpu().numpy(), right_P.cpu().numpy(), float(nsp))


@dataclass(frozen=True)
class Start:
    """What a run begins with: random weights of a size, or a base model; and the words it knows."""

    base: str | None = None
    """Base model to go on from; None: a random start."""
    size: str = "mini"
    """Shape of a random start: tiny, mini, small, medium, base or large."""
    vocabulary: Path | None = None
    """Folder of a tokenizer; None: the base's, or one learned from the corpora."""
    vocabulary_size: int = 16_000
    lowercase: bool = True
    position: str = "learned"


def pretrain(
    corpora: Sequence[str | Path],
    out: Path,
    *,
    start: Start | None = None,
    config: PretrainConfig | None = None,
    weights: Sequence[float] | None = None,
    device: str | None = None,
    overwrite: bool = False,
    track: bool = False,
    licence: str | None = None,
    command: str = "",
    watch: Watcher | None = None,
) -> Pretrained:
    """Pre-train on corpora and leave a run folder at `out` that `fit --base`, and `transformers`, can start from.

    `weights` say how often an epoch reads each corpus; `licence` is that of the texts, for the model card. A run that
    was stopped is taken up again by the same call. Raises DataError, ConfigError, ModelError or TrainingError; nothing
    finished is replaced without `overwrite`.
    """
    watch, start, config = watch or Silent(), start or Start(), config or PretrainConfig()
    device = best_device(device)
    weights = list(weights or [1.0] * len(corpora))
    _check(corpora, weights)
    if int(os.environ.get("RANK", "0")):
        return _follow(out, start, config, weights, device)
    refuse_taken(out, overwrite=overwrite)
    with locked(out):
        claim(out, overwrite=overwrite)
        work = out / "checkpoints"
        (work / READY).unlink(missing_ok=True)
        tokenizer = _tokenizer(corpora, start, work, watch)
        shards = _shards(corpora, tokenizer, config, work, watch)
        write_json(work / READY, {"corpora": len(corpora)})
        run = _Run.prepare(tokenizer, shards, weights=weights, start=start, config=config, device=device, watch=watch)
        trained, plan = run.train(out, track=track)
        info = {
            "name": out.name,
            "max_length": run.model.encoder.config.max_positions,
            "base": start.base or start.size,
            "versions": {"filbert": filbert.__version__, "torch": torch.__version__},
        }
        save_pretrained(out, run.model, tokenizer, info)
        watch.say(f"model saved in {out}")
        report = run.report(out, trained, plan, command)
        report["data"]["licence"] = licence
        write_json(out / "report.json", report)
        write_report(out)
        shutil.rmtree(work, ignore_errors=True)
    leave()
    return Pretrained(out, report)


def _check(corpora: Sequence[str | Path], weights: Sequence[float]) -> None:
    if not corpora:
        raise ConfigError("no corpus was given — name at least one file, folder or archive of texts")
    if len(weights) != len(corpora):
        raise ConfigError(f"{len(weights)} weights for {len(corpora)} corpora — give one weight for each")
    for weight in weights:
        if not 0 < weight < 1000:
            raise ConfigError(f"a weight is {weight} — give a number above 0: how often an epoch reads the corpus")


def _follow(out: Path, start: Start, config: PretrainConfig, weights: Sequence[float], device: str) -> Pretrained:
    """Take part in a run that another process leads: wait for its shards, then train in step with it."""
    work = out / "checkpoints"
    while not (work / READY).is_file():  # torchrun ends this process where the first one dies
        time.sleep(0.2)
    tokenizer = Tokenizer.from_folder(work / "tokenizer")
    shards = [open_shards(folder) for folder in sorted(work.glob("corpus-*"))]
    run = _Run.prepare(tokenizer, shards, weights=weights, start=start, config=config, device=device, watch=Silent())
    run.train(out, track=False)
    leave()
    return Pretrained(out, {})


def _tokenizer(corpora: Sequence[str | Path], start: Start, work: Path, watch: Watcher) -> Tokenizer:
    """Return the vocabulary of the run, kept beside the shards so that every process and every resumption has it."""
    kept = work / "tokenizer"
    if (kept / "tokenizer.json").is_file():
        return Tokenizer.from_folder(kept)
    if start.vocabulary is not None:
        tokenizer = Tokenizer.from_folder(start.vocabulary)
    elif start.base is not None:
        base = find_base(start.base)
        if base.folder is None:
            raise ConfigError(f"{start.base} is a random start — name a base model, or use `filbert pretrain`")
        tokenizer = Tokenizer.from_folder(base.folder)
    else:
        watch.say(f"learning a vocabulary of {start.vocabulary_size:,} word pieces")
        tokenizer = learn(Paragraphs(corpora), start.vocabulary_size, lowercase=start.lowercase, watch=watch)
    draft = work / "tokenizer.part"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    tokenizer.save(draft, 512)
    draft.rename(kept)
    return tokenizer


class Paragraphs:
    """Everything the corpora hold, streamed, paragraph by paragraph, and again each time it is asked for."""

    def __init__(self, corpora: Sequence[str | Path]) -> None:
        self.corpora = [open_corpus(path) for path in corpora]

    def __iter__(self) -> Iterator[str]:
        for corpus in self.corpora:
            for document in corpus.documents():
                yield from document.paragraphs


def _shards(
    corpora: Sequence[str | Path], tokenizer: Tokenizer, config: PretrainConfig, work: Path, watch: Watcher
) -> list[Shards]:
    found = []
    for number, path in enumerate(corpora):
        corpus = open_corpus(path)
        for line in corpus.found:
            watch.say(line)
        shards = write_shards(
            corpus,
            work / f"corpus-{number:03d}",
            tokenizer=tokenizer,
            sentences=split,
            word_starts=word_starts if config.whole_words else None,
            watch=watch,
        )
        facts = shards.facts
        watch.say(
            f"{corpus.name}: {facts['documents']:,} documents, {facts['sentences']:,} sentences, "
            f"{facts['tokens']:,} tokens; {facts['duplicates']:,} duplicates left out"
        )
        found.append(shards)
    return found


@dataclass
class _Run:
    """What is known before training starts; every process of a run makes the same."""

    model: task.PreTrainer
    tokenizer: Tokenizer
    feed: CorpusFeed
    shards: Sequence[Shards]
    weights: Sequence[float]
    start: Start
    config: PretrainConfig
    device: str
    crew: Crew
    watch: Watcher

    @classmethod
    def prepare(
        cls,
        tokenizer: Tokenizer,
        shards: Sequence[Shards],
        *,
        weights: Sequence[float],
        start: Start,
        config: PretrainConfig,
        device: str,
        watch: Watcher,
    ) -> _Run:
        crew = join(device)
        generator = torch.Generator().manual_seed(config.seed)
        if start.base is None:
            shape = EncoderConfig.of_size(start.size, len(tokenizer))
            shape = replace(shape, dropout=config.dropout, position=start.position)
            model = task.PreTrainer(Encoder(shape, generator), generator, pairs=config.next_sentence)
        else:
            base = find_base(start.base)
            assert base.folder is not None
            model = load_pretrained(base.folder, generator).model
            for part in model.modules():
                if isinstance(part, Dropout):
                    part.dropped = Dropout(config.dropout).dropped
            if not config.next_sentence:
                model.pooler.requires_grad_(False)
                model.next.requires_grad_(False)
        longest = model.encoder.config.max_positions
        config = replace(config, length=min(config.length, longest), long_length=min(config.long_length, longest))
        feed = CorpusFeed(Pool(shards, weights), config, tokenizer, crew)
        if not feed.tokens or not feed.pool.tokens(held_out=True):
            todo = "give at least two: a blank line, or a file of its own, ends a document"
            raise ConfigError(f"the corpora hold one document, and one is held out to measure on — {todo}")
        return cls(model, tokenizer, feed, shards, weights, start, config, device, crew, watch)

    def train(self, out: Path, *, track: bool) -> tuple[Trained, Plan]:
        """Run the loop to its end."""
        config, work = self.config, out / "checkpoints"
        interrupted = newest_checkpoint(work)
        plan = Plan(**interrupted[1]["plan"]) if interrupted else self._plan()
        held_out = self.feed.held_out(VALIDATION_TOKENS, self.crew)
        job = PretrainJob(self.model, held_out, config.next_sentence, self.device, self.crew)
        identity = {
            "corpora": [shards.facts for shards in self.shards],
            "weights": list(self.weights),
            "base": self.start.base or self.start.size,
            "processes": self.crew.size,
            "filbert": filbert.__version__,
            **asdict(config),
        }
        shape = self.model.encoder.config
        loop = Loop(
            job,
            self.feed,
            config,
            plan,
            layers=shape.layers,
            rate=config.learning_rate or pretraining_rate(shape.hidden, random_start=self.start.base is None),
            folder=work,
            identity=identity,
            device=self.device,
            crew=self.crew,
            validations=VALIDATIONS,
            watch=self.watch,
            track=out / "tensorboard" if track else None,
        )
        self.watch.say(
            f"{sum(p.numel() for p in self.model.parameters()):,} weights, {loop.steps:,} steps of about "
            f"{config.batch_tokens:,} tokens"
        )
        return loop.run(), plan

    def _plan(self) -> Plan:
        config = self.config
        epochs = config.epochs
        if config.tokens is not None:
            epochs = config.tokens / self.feed.tokens
        if epochs is None:
            epochs = default_passes(self.feed.tokens)
        if config.minutes is not None and config.epochs is None and config.tokens is None:
            epochs = 1000.0  # the clock ends the run
        seconds = None if config.minutes is None else config.minutes * 60
        return Plan(epochs, config.long_length, config.length, seconds)

    def report(self, out: Path, trained: Trained, plan: Plan, command: str) -> dict[str, Any]:
        """Open what was saved, measure it on all held-out text, and tell the run's story."""
        saved = load_pretrained(out).model.to(self.device).eval()
        self.watch.say("measuring on held-out text")
        losses, right, texts, follows, number = [], [], [], [], 0
        for batch in self.feed.held_out():
            losses_M, right_M, right_P, _ = held_out_answers(saved, batch, self.device)
            assert batch.masked_M is not None
            text_T = np.repeat(np.arange(len(batch.order_B)), np.diff(batch.starts_B)) + number
            number += len(batch.order_B)
            losses.append(losses_M)
            right.append(right_M)
            texts.append(text_T[batch.masked_M])
            follows.append(right_P if self.config.next_sentence else right_P[:0])
        scores = task.score(*(np.concatenate(parts) for parts in (losses, right, texts, follows)))
        scores["pseudo_perplexity"] = pseudo_perplexity(saved, self.tokenizer, self._sample(), self.device)
        shape = self.model.encoder.config
        return {
            "task": "pretrain",
            "name": out.name,
            "scores": scores,
            "data": {
                "corpora": [
                    {**shards.facts, "weight": weight} for shards, weight in zip(self.shards, self.weights, strict=True)
                ],
                "held_out_tokens": self.feed.pool.tokens(held_out=True),
            },
            "model": {
                "base": self.start.base or self.start.size,
                "random_start": self.start.base is None,
                "layers": shape.layers,
                "hidden": shape.hidden,
                "heads": shape.heads,
                "vocabulary": shape.vocab_size,
                "position": shape.position,
                "parameters": sum(p.numel() for p in self.model.parameters()),
            },
            "training": {
                "seconds": round(trained.seconds, 1),
                "steps": trained.steps,
                "epochs": round(trained.epochs, 3),
                "tokens": trained.tokens,
                "tokens_per_second": round(trained.tokens_per_second, 1),
                "best_step": trained.best_step,
                "stopped": trained.stopped,
                "precision": "bf16" if working_dtype(self.config.precision, self.device) == torch.bfloat16 else "fp32",
                "device": self.device,
                "processes": self.crew.size,
                "config": {**asdict(self.config), "epochs": plan.epochs},
                "command": command,
            },
            "versions": {"filbert": filbert.__version__, "torch": torch.__version__},
        }

    def _sample(self) -> list[IntArray]:
        """Return a hundred short held-out texts as ids, for pseudo-perplexity."""
        rows_N5 = self.feed.pool.plan(64, pairs=False, seed=0, epoch=0, held_out=True)[:100]
        return [self.feed.pool.take(np.arange(row[0], row[1]))[0] for row in rows_N5]
