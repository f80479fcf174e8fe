"""Prepare the model and the batches of a pre-training run, and train.

A base model without an MLM head, such as a sentence encoder, gets a new one. The gradients of a random head would
damage the encoder, so the head is trained alone first, and the encoder afterwards with a lower learning rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from filbert.bases.find import find_base
from filbert.config import EncoderConfig, PretrainConfig
from filbert.corpus.pool import Pool
from filbert.corpus.prepare import Start
from filbert.errors import ConfigError, counted
from filbert.model.encoder import Encoder, set_dropout
from filbert.owned import SCRATCH
from filbert.pretraining.folder import HEADS, load_pretrained
from filbert.pretraining.job import CorpusFeed, PretrainJob
from filbert.pretraining.network import PreTrainer
from filbert.progress import Watcher
from filbert.text.tokenizer import Tokenizer
from filbert.training.checkpoints import newest_checkpoint
from filbert.training.distributed import ProcessGroup
from filbert.training.job import Trained
from filbert.training.loop import Loop
from filbert.training.optimizer import pretraining_rate
from filbert.training.plan import Plan
from filbert.version import __version__

VALIDATIONS = 20  # of a run
VALIDATION_TOKENS = 50_000  # of a validation; the evaluation at the end uses all held-out text
HEAD_WARMUP_SHARE = 0.3  # of a run, in which only a new head is trained (Kumar et al. 2022)
BASE_RATE_FACTOR = 0.15  # of the learning rate, for an encoder with a new head, so that it forgets little
MAX_EPOCHS = 10.0  # by default, on a base model


@dataclass(frozen=True)
class Settings:
    """The settings of a run, the same in each of its processes."""

    start: Start
    config: PretrainConfig
    weights: Sequence[float]
    device: str
    group: ProcessGroup

    def identity(self) -> dict[str, Any]:
        """Return what must be equal for a stopped run to be resumed; corpora are compared in `Run.train`."""
        return {
            "start": self.start.identity(),
            "weights": list(self.weights),
            "processes": self.group.size,
            "filbert": __version__,
            **asdict(self.config),
        }


@dataclass
class Run:
    """A run that is ready to train: model, batches, settings."""

    model: PreTrainer
    tokenizer: Tokenizer
    feed: CorpusFeed
    settings: Settings
    config: PretrainConfig
    """As in `settings`, with lengths limited to the model's positions."""
    new_heads: Sequence[str]
    """Randomly initialised modules on a trained base."""
    watch: Watcher

    def train(self, out: Path, *, track: Sequence[str]) -> tuple[Trained, Plan]:
        """Train; afterwards the model has the weights with the lowest held-out loss."""
        config, device, group, work = self.config, self.settings.device, self.settings.group, out / SCRATCH
        interrupted = newest_checkpoint(work)
        plan = Plan(**interrupted[1]["plan"]) if interrupted else self._plan()
        held_out = self.feed.held_out(VALIDATION_TOKENS, group)
        job = PretrainJob(self.model, held_out, config.next_sentence, device, group)
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
            group=group,
            head_rates=dict.fromkeys(self.new_heads, max(self.rate, self._rate(random_start=True))),
            head_warmup=HEAD_WARMUP_SHARE if self.new_heads else 0.0,
            validations=VALIDATIONS,
            watch=self.watch,
            track=track,
        )
        self.watch.say(
            f"{sum(p.numel() for p in self.model.parameters()):,} weights, {loop.steps:,} steps of about "
            f"{config.batch_tokens:,} tokens"
        )
        return loop.run(), plan

    def encoder_changed(self, trained: Trained) -> bool:
        """Return whether the encoder differs from the base's: not where the best step had trained only a new head."""
        return trained.best_step > trained.head_only_steps

    @property
    def rate(self) -> float:
        """Peak learning rate of all weights except new heads."""
        default = self._rate(random_start=self.settings.start.base is None)
        return self.config.learning_rate or default * (BASE_RATE_FACTOR if self.new_heads else 1.0)

    def _rate(self, *, random_start: bool) -> float:
        return pretraining_rate(self.model.encoder.config.hidden, random_start=random_start)

    def _plan(self) -> Plan:
        config = self.config
        epochs = config.epochs
        if config.tokens is not None:
            epochs = config.tokens / self.feed.tokens
        if epochs is None:
            epochs = default_epochs(self.feed.tokens, new_head=bool(self.new_heads))
        if config.minutes is not None and config.epochs is None and config.tokens is None:
            epochs = 1000.0 if self.settings.start.base is None else MAX_EPOCHS  # the deadline ends the run
        seconds = None if config.minutes is None else config.minutes * 60
        return Plan(epochs, config.long_length, config.length, seconds)


def prepare(tokenizer: Tokenizer, pool: Pool, vectors_VD: Tensor | None, settings: Settings, watch: Watcher) -> Run:
    """Return the run's model and batches; ConfigError where there is too little text."""
    start, config = settings.start, settings.config
    generator, missing = torch.Generator().manual_seed(config.seed), set[str]()
    if start.base is None:
        shape = EncoderConfig.of_size(start.size, len(tokenizer))
        shape = replace(shape, dropout=config.dropout, position=start.position)
        model = PreTrainer(Encoder(shape, generator), generator, pairs=config.next_sentence)
    else:
        base = find_base(start.base)
        assert base.folder is not None
        loaded = load_pretrained(base.folder, generator)
        model, missing = loaded.model, HEADS.keys() - loaded.heads
        set_dropout(model, config.dropout)
        if not config.next_sentence:
            model.pooler.requires_grad_(False)
            model.next.requires_grad_(False)
    longest = model.encoder.config.max_positions
    config = replace(config, length=min(config.length, longest), long_length=min(config.long_length, longest))
    feed = CorpusFeed(pool, config, tokenizer, settings.group)
    if "mlm" in missing:
        share = f"the first {HEAD_WARMUP_SHARE:.0%} of the run train it alone"
        watch.say(f"{start.base} has no masked language modelling head: it gets a new one, and {share}")
    if "mlm" in missing or vectors_VD is not None:
        model.init_output_bias(feed.pool.counts(model.encoder.config.vocab_size))
    if vectors_VD is not None:
        model.init_embeddings(vectors_VD)
    wanted = HEADS.keys() if config.next_sentence else {"mlm"}
    new_heads = [name for head in sorted(missing & wanted) for name in HEADS[head]]
    if not feed.tokens or not feed.pool.tokens(held_out=True):
        todo = "give at least two: a blank line, or a file of its own, ends a document"
        raise ConfigError(f"the corpora hold one document, and one is held out to evaluate on — {todo}")
    if feed.pool.repeated:
        watch.say(f"{counted(feed.pool.repeated, 'document')} read once: in an earlier corpus, too")
    return Run(model, tokenizer, feed, settings, config, new_heads, watch)


def default_epochs(tokens: float, *, new_head: bool = False) -> float:
    """Return the default number of epochs: as many as give 5 M tokens, at least one and at most ten.

    Half as many tokens where a base model gets a new head.

    >>> default_epochs(65e6), default_epochs(2e6), default_epochs(1e5)
    (1.0, 2.5, 10.0)
    >>> default_epochs(2e6, new_head=True)
    1.25
    """
    return float(min(MAX_EPOCHS, max(1.0, (2.5e6 if new_head else 5e6) / max(tokens, 1.0))))
