"""From raw text to a pre-trained BERT: everything `filbert pretrain` and `filbert adapt` do, in order.

    corpora → vocabulary → shards → plan → train → save → measure what was saved → report

From a size it starts at random, from a base model it goes on (Gururangan et al. 2020 call that domain adaptation).
Fine-tuning is in fit.py; the loop is train.py's.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from filbert.bases.find import find_base
from filbert.config import EncoderConfig, PretrainConfig
from filbert.corpus.pool import Pool
from filbert.corpus.prepare import Start, corpus_folder, shards_of, tokenizer_of, words_of
from filbert.corpus.shards import open_shards
from filbert.errors import ConfigError, ModelError
from filbert.files import read_json, write_json
from filbert.folder.claim import claim, locked, refuse_taken
from filbert.model.device import best_device, working_dtype
from filbert.model.encoder import Dropout, Encoder
from filbert.pretraining.card import KIND
from filbert.pretraining.fill_mask import pseudo_perplexity
from filbert.pretraining.folder import HEADS, load_pretrained, save_pretrained
from filbert.pretraining.job import CorpusFeed, PretrainJob, measured
from filbert.pretraining.network import PreTrainer
from filbert.progress import Silent, Watcher
from filbert.readers.documents import open_corpus
from filbert.records import IntArray
from filbert.report import write_report
from filbert.text.chinese import word_starts
from filbert.text.tokenizer import Tokenizer
from filbert.training.distributed import Crew, joined, own_device
from filbert.training.loop import Loop, Trained, newest_checkpoint, refuse_changes
from filbert.training.optimizer import pretraining_rate
from filbert.training.plan import Plan
from filbert.version import __version__, versions

VALIDATIONS = 20  # of a run
VALIDATION_TOKENS = 50_000  # of each; the last measurement takes all that is held out
HEAD_FIRST = 0.3  # share of a run in which a head learns alone that the base did not bring (Kumar et al. 2022)
GENTLE = 0.15  # of the usual rate, for the encoder of such a base: it was made for something else, and would forget it
MOST_PASSES = 10.0  # over the corpora, on a base model, where nobody says
BATCH_TOKENS, BATCH_TOKENS_ON_BASE = 16_384, 4_096  # of a step, where nobody says
RUN = "run.json"  # whose vocabulary and shards these are
READY = "ready.json"  # tells the other processes of a run that the shards are there


@dataclass(frozen=True)
class Pretrained:
    """A finished run: its folder and what report.json says."""

    folder: Path
    report: dict[str, Any]


def default_passes(tokens: float, *, gentle: bool = False) -> float:
    """Passes over the corpora when none are asked for: one, or up to ten where that is less than 5 M tokens.

    Half of that where the base must be treated gently.

    >>> default_passes(65e6), default_passes(2e6), default_passes(1e5)
    (1.0, 2.5, 10.0)
    >>> default_passes(2e6, gentle=True)
    1.25
    """
    return float(min(MOST_PASSES, max(1.0, (2.5e6 if gentle else 5e6) / max(tokens, 1.0))))


def pretrain(
    corpora: Sequence[str | Path],
    out: Path,
    *,
    start: Start | None = None,
    config: PretrainConfig | None = None,
    weights: Sequence[float] | None = None,
    leave_out: Sequence[str] = (),
    device: str | None = None,
    overwrite: bool = False,
    track: bool = False,
    half: bool = False,
    licence: str | None = None,
    command: str = "",
    watch: Watcher | None = None,
) -> Pretrained:
    """Pre-train on corpora and leave a run folder at `out` that `fit --base`, and `transformers`, can start from.

    `weights` say how often an epoch reads each corpus; `leave_out` are texts not to be read wherever they stand, since
    a model will be tested on them; `half` writes the model in bf16; `licence` is that of the texts, for the model card.
    A run that was stopped is taken up again by the same call. Raises DataError, ConfigError,
    ModelError or TrainingError; nothing finished is replaced without `overwrite`.
    """
    watch, start, config = watch or Silent(), start or Start(), config or PretrainConfig()
    device = own_device(best_device(device))
    weights = list(weights or [1.0] * len(corpora))
    if config.batch_tokens is None:
        usual = BATCH_TOKENS if start.base is None else BATCH_TOKENS_ON_BASE
        config = replace(config, batch_tokens=max(usual, config.length, config.long_length))
    _check(corpora, weights, start, config, track=track)
    if config.optimizer == "auto":
        config = replace(config, optimizer=find_base(start.base or start.size).optimizer)
    with joined(device) as crew:
        token = crew.total([random.random() if crew.leads else 0.0])[0]  # tells this start from an earlier one
        settings = _Settings(start, config, weights, device, crew)
        if not crew.leads:
            return _follow(out, token, settings)
        refuse_taken(out, overwrite=overwrite)
        with locked(out):
            claim(out, overwrite=overwrite)
            work = out / "checkpoints"
            _same_run(work, settings)
            sources = [open_corpus(path, leave_out=leave_out) for path in corpora]
            tokenizer = tokenizer_of(sources, start, work, watch)
            pool = Pool(shards_of(sources, tokenizer, config, work, watch), weights)
            words_VD = words_of(pool, tokenizer, start, work, seed=config.seed, watch=watch)
            write_json(work / READY, {"corpora": len(corpora), "token": token})
            run = _Run.prepare(tokenizer, pool, words_VD, settings, watch)
            trained, plan = run.train(out, track=track)
            if not run.changed(trained):
                watch.say("held-out text was guessed best before the base began to learn: it stays as it was")
            report = _finish(run, out, trained, plan, half=half, licence=licence, command=command)
            shutil.rmtree(work, ignore_errors=True)
    return Pretrained(out, report)


def _finish(
    run: _Run, out: Path, trained: Trained, plan: Plan, *, half: bool, licence: str | None, command: str
) -> dict[str, Any]:
    """Save the model, measure what was saved, and report it."""
    info = {
        "name": out.name,
        "max_length": run.model.encoder.config.max_positions,
        "base": run.settings.start.base or run.settings.start.size,
        "versions": versions(),
    }
    save_pretrained(out, run.model, run.tokenizer, info, torch.bfloat16 if half else torch.float32)
    run.watch.say(f"model saved in {out}")
    report = run.report(out, trained, plan, command)
    report["data"]["licence"] = licence
    write_json(out / "report.json", report)
    write_report(out, KIND)
    return report


@dataclass(frozen=True)
class _Settings:
    """What every process of a run is told."""

    start: Start
    config: PretrainConfig
    weights: Sequence[float]
    device: str
    crew: Crew

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a stopped run to go on, the corpora apart."""
        return {
            "start": self.start.identity(),
            "weights": list(self.weights),
            "processes": self.crew.size,
            "filbert": __version__,
            **asdict(self.config),
        }


def _same_run(work: Path, settings: _Settings) -> None:
    """Refuse to go on with another run's vocabulary and shards; note whose they are."""
    (work / READY).unlink(missing_ok=True)
    if (work / RUN).is_file():
        refuse_changes(read_json(work / RUN), settings.identity(), work)
    work.mkdir(parents=True, exist_ok=True)
    write_json(work / RUN, settings.identity())


def _check(
    corpora: Sequence[str | Path], weights: Sequence[float], start: Start, config: PretrainConfig, *, track: bool
) -> None:
    """Refuse what could only fail after the corpora were read."""
    if not corpora:
        raise ConfigError("no corpus was given — name at least one file, folder or archive of texts")
    if len(weights) != len(corpora):
        raise ConfigError(f"{len(weights)} weights for {len(corpora)} corpora — give one weight for each")
    for weight in weights:
        if not 0 < weight < 1000:
            raise ConfigError(f"a weight is {weight} — give a number above 0: how often an epoch reads the corpus")
    if start.base is not None and find_base(start.base).folder is None:
        raise ConfigError(f"{start.base} is a random start — name a base model, or use `filbert pretrain`")
    if config.whole_words:
        word_starts("词")  # raises where jieba is not installed
    if track and find_spec("tensorboard") is None:
        raise ConfigError("TensorBoard is not installed — pip install 'filbert[track]', or leave it out")


def _tokens_before(base: str | None) -> int:
    """Return the tokens a base has seen, as far as its report says."""
    folder = None if base is None else find_base(base).folder
    if folder is None or not (folder / "report.json").is_file():
        return 0
    training = read_json(folder / "report.json").get("training") or {}
    return int(training.get("tokens") or 0) + int(training.get("tokens_before") or 0)


def _follow(out: Path, token: float, settings: _Settings) -> Pretrained:
    """Take part in a run that another process leads: wait for its shards, then train in step with it."""
    work = out / "checkpoints"
    told: dict[str, Any] = {}
    while told.get("token") != token:  # torchrun ends this process where the first one dies
        time.sleep(0.2)
        with suppress(ModelError):  # not there yet
            told = read_json(work / READY)
    tokenizer = Tokenizer.from_folder(work / "tokenizer")
    pool = Pool([open_shards(corpus_folder(work, number)) for number in range(told["corpora"])], settings.weights)
    words_VD = words_of(pool, tokenizer, settings.start, work, seed=settings.config.seed, watch=Silent())
    _Run.prepare(tokenizer, pool, words_VD, settings, Silent()).train(out, track=False)
    return Pretrained(out, {})


@dataclass
class _Run:
    """What is known before training starts; every process of a run makes the same."""

    model: PreTrainer
    tokenizer: Tokenizer
    feed: CorpusFeed
    settings: _Settings
    config: PretrainConfig  # of the settings, fitted to the longest text the model reads
    fresh: Sequence[str]  # parts that start from nothing and learn, though the base is trained
    watch: Watcher

    @classmethod
    def prepare(
        cls,
        tokenizer: Tokenizer,
        pool: Pool,
        words_VD: Tensor | None,
        settings: _Settings,
        watch: Watcher,
    ) -> _Run:
        """Make the model and the feed; ConfigError where there is too little text."""
        start, config = settings.start, settings.config
        generator, lacks = torch.Generator().manual_seed(config.seed), set[str]()
        if start.base is None:
            shape = EncoderConfig.of_size(start.size, len(tokenizer))
            shape = replace(shape, dropout=config.dropout, position=start.position)
            model = PreTrainer(Encoder(shape, generator), generator, pairs=config.next_sentence)
        else:
            base = find_base(start.base)
            assert base.folder is not None
            loaded = load_pretrained(base.folder, generator)
            model, lacks = loaded.model, HEADS.keys() - loaded.has
            for part in model.modules():
                if isinstance(part, Dropout):
                    part.dropped = Dropout(config.dropout).dropped
            if not config.next_sentence:
                model.pooler.requires_grad_(False)
                model.next.requires_grad_(False)
        longest = model.encoder.config.max_positions
        config = replace(config, length=min(config.length, longest), long_length=min(config.long_length, longest))
        feed = CorpusFeed(pool, config, tokenizer, settings.crew)
        if "mlm" in lacks:
            watch.say(f"{start.base} has no head for masked tokens: one is trained from nothing, alone at first")
        if "mlm" in lacks or words_VD is not None:
            model.expect(feed.pool.counts(model.encoder.config.vocab_size))
        if words_VD is not None:
            model.know(words_VD)
        learned = HEADS.keys() if config.next_sentence else {"mlm"}
        fresh = [name for head in sorted(lacks & learned) for name in HEADS[head]]
        if not feed.tokens or not feed.pool.tokens(held_out=True):
            todo = "give at least two: a blank line, or a file of its own, ends a document"
            raise ConfigError(f"the corpora hold one document, and one is held out to measure on — {todo}")
        if feed.pool.repeated:
            watch.say(f"{feed.pool.repeated:,} documents stand in an earlier corpus, too: read there only")
        return cls(model, tokenizer, feed, settings, config, fresh, watch)

    def train(self, out: Path, *, track: bool) -> tuple[Trained, Plan]:
        """Run the loop to its end."""
        config, device, crew, work = self.config, self.settings.device, self.settings.crew, out / "checkpoints"
        interrupted = newest_checkpoint(work)
        plan = Plan(**interrupted[1]["plan"]) if interrupted else self._plan()
        held_out = self.feed.held_out(VALIDATION_TOKENS, crew)
        job = PretrainJob(self.model, held_out, config.next_sentence, device, crew)
        identity = {**self.settings.identity(), "corpora": [shards.facts for shards in self.feed.pool.shards]}
        loop = Loop(
            job,
            self.feed,
            config,
            plan,
            layers=self.model.encoder.config.layers,
            rate=self.rate,
            folder=work,
            identity=identity,
            device=device,
            crew=crew,
            rates=dict.fromkeys(self.fresh, max(self.rate, self._rate(random_start=True))),
            ahead=HEAD_FIRST if self.fresh else 0.0,
            validations=VALIDATIONS,
            watch=self.watch,
            track=out / "tensorboard" if track else None,
        )
        self.watch.say(
            f"{sum(p.numel() for p in self.model.parameters()):,} weights, {loop.steps:,} steps of about "
            f"{config.batch_tokens:,} tokens"
        )
        return loop.run(), plan

    def changed(self, trained: Trained) -> bool:
        """Say whether the weights that were kept are others than the base's, a new head apart."""
        return trained.best_step > trained.alone

    @property
    def rate(self) -> float:
        """Peak learning rate of what the base brings."""
        usual = self._rate(random_start=self.settings.start.base is None)
        return self.config.learning_rate or usual * (GENTLE if self.fresh else 1.0)

    def _rate(self, *, random_start: bool) -> float:
        return pretraining_rate(self.model.encoder.config.hidden, random_start=random_start)

    def _plan(self) -> Plan:
        config = self.config
        epochs = config.epochs
        if config.tokens is not None:
            epochs = config.tokens / self.feed.tokens
        if epochs is None:
            epochs = default_passes(self.feed.tokens, gentle=bool(self.fresh))
        if config.minutes is not None and config.epochs is None and config.tokens is None:
            epochs = 1000.0 if self.settings.start.base is None else MOST_PASSES  # mostly the clock ends the run
        seconds = None if config.minutes is None else config.minutes * 60
        return Plan(epochs, config.long_length, config.length, seconds)

    def report(self, out: Path, trained: Trained, plan: Plan, command: str) -> dict[str, Any]:
        """Open what was saved, measure it on all held-out text, and tell the run's story."""
        start, device = self.settings.start, self.settings.device
        self.watch.say("measuring on held-out text")
        saved = load_pretrained(out).model.to(device).eval()
        scores = measured(saved, self.feed.held_out(), device, pairs=self.config.next_sentence)
        scores["pseudo_perplexity"] = pseudo_perplexity(saved, self.tokenizer, self._sample(), device)
        shape = self.model.encoder.config
        return {
            "task": "pretrain",
            "name": out.name,
            "scores": scores,
            "data": {
                "corpora": [
                    {**shards.facts, "weight": weight}
                    for shards, weight in zip(self.feed.pool.shards, self.settings.weights, strict=True)
                ],
                "held_out_tokens": self.feed.pool.tokens(held_out=True),
                "repeated_documents": self.feed.pool.repeated,
            },
            "model": {
                "base": start.base or start.size,
                "random_start": start.base is None,
                "drawn": start.drawn if start.base is None else None,
                "layers": shape.layers,
                "hidden": shape.hidden,
                "heads": shape.heads,
                "vocabulary": shape.vocab_size,
                "position": shape.position,
                "parameters": sum(p.numel() for p in self.model.parameters()),
            },
            "training": {
                **trained.facts(),
                "tokens_before": _tokens_before(start.base),
                "encoder_changed": self.changed(trained),
                "precision": "bf16" if working_dtype(self.config.precision, device) == torch.bfloat16 else "fp32",
                "device": device,
                "processes": self.settings.crew.size,
                "config": {
                    **asdict(self.config),
                    "epochs": plan.epochs if plan.seconds is None else None,
                    "learning_rate": self.rate,
                },
                "command": command,
            },
            "versions": versions(),
        }

    def _sample(self) -> list[IntArray]:
        """Return a hundred short held-out texts as ids, for pseudo-perplexity."""
        rows_N5 = self.feed.pool.plan(64, pairs=False, seed=0, epoch=0, held_out=True)[:100]
        return [self.feed.pool.take(np.arange(row[0], row[1]))[0] for row in rows_N5]
