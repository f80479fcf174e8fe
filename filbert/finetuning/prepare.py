"""What is known before training starts: base, network, word pieces of every text, learning rate, the run's identity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from filbert.bases.find import FILBERT_MINI, Base, are_chinese
from filbert.bases.load import load_base
from filbert.config import EncoderConfig, TrainConfig
from filbert.errors import ConfigError, counted
from filbert.finetuning.dataset import Dataset
from filbert.finetuning.long_texts import Chosen, choose
from filbert.model.encoder import Encoder, set_dropout
from filbert.model.head import Head
from filbert.model.mean_layer import pass_on, pool_by_mean
from filbert.model.network import Network
from filbert.progress import Watcher
from filbert.records import UNREADABLE, Encoding, Example, Features
from filbert.tasks.framing import special_tokens
from filbert.tasks.long_texts import HEAD_TAIL, WINDOWS
from filbert.tasks.task import Task
from filbert.text.tokenizer import Tokenizer, encoded
from filbert.text.vocab import learn
from filbert.training.optimizer import default_learning_rate
from filbert.version import __version__

SAMPLED = 1_000  # training texts, for what the base's vocabulary has no pieces for
VOCABULARY = 8_000  # word pieces learned from the training texts for random weights
ENCODED_AT_ONCE = 2_000  # texts
AUTO = "auto"  # as TrainConfig.long

Encodings = Sequence[Sequence[Encoding]]  # of each text, or of both of a pair


@dataclass
class Run:
    """A fine-tuning run before and while it trains."""

    data: Dataset
    base: Base
    config: TrainConfig
    device: str
    rate: float
    tokenizer: Tokenizer
    encoder_config: EncoderConfig
    encodings: Mapping[str, Encodings]
    identity: dict[str, Any]
    features: dict[str, list[list[Features]]] = field(default_factory=dict)
    """The windows of each text of each split, at the longest length of the run."""
    long: Chosen | None = None
    """How long texts are read, where that was left open."""

    @property
    def averaged(self) -> bool:
        """Whether the outputs of a text's windows are averaged: then all of them are one training text."""
        return self.data.task.head(self.data.settings).weighed

    @property
    def long_facts(self) -> dict[str, Any] | None:
        """How long texts are read, and why if that was chosen, for the report; None where the task has its own way."""
        if self.data.task.LONG:
            return None
        chosen = {"why": self.long.why, **self.long.facts} if self.long else {}
        return {"asked": self.config.long, "way": self.data.settings.long, **chosen}

    def short(self, length: int) -> list[Features]:
        """Return the training texts cut to one window each, or, where windows are no parts of one answer, all these."""
        cut = replace(self.data.settings, long=HEAD_TAIL) if self.averaged else self.data.settings
        return [window for each in self._windows("train", length, cut) for window in each]

    @property
    def lengths(self) -> list[int]:
        """Tokens of the training texts, uncut, special ones included; of a text in several windows those of each."""
        if self.data.task.WINDOWS:
            return [len(window) for each in self.features["train"] for window in each]
        return [sum(len(part.ids) for part in each) + special_tokens(len(each)) for each in self.encodings["train"]]

    def windows(self, split: str, length: int) -> list[list[Features]]:
        """Return the windows of each text of a split, at most `length` tokens each."""
        return self._windows(split, length, self.data.settings)

    def _windows(self, split: str, length: int, settings: Any) -> list[list[Features]]:
        task = self.data.task
        found = [
            task.features(encodings, example.target, self.tokenizer, settings, length)
            for encodings, example in zip(self.encodings[split], self.data.splits.parts[split], strict=True)
        ]
        if split != "train" or self.data.soft is None:
            return found
        return [
            [replace(window, target=target) for window in each]
            for each, target in zip(found, self.data.soft.targets_N, strict=True)
        ]

    def cut(self, length: int) -> None:
        """Make the windows of all splits anew, for another longest length."""
        self.features = {split: self.windows(split, length) for split in self.data.splits.parts}

    def network(self) -> Network:
        """Make the network as it is before training: the same weights each time."""
        return _network(self.data, self.base, self.config)[0]


def prepare(data: Dataset, base: Base, config: TrainConfig, device: str, watch: Watcher) -> tuple[Run, Network]:
    """Make the network and everything beside it. Raises ModelError where the base cannot be loaded."""
    config = replace(config, pooling=pooling_for(data.task.head(data.settings), base.pooling, config.pooling))
    if not data.task.LONG:
        data = replace(data, settings=replace(data.settings, long=HEAD_TAIL if config.long == AUTO else config.long))
    model, tokenizer = _network(data, base, config)
    shape = model.encoder.config
    if config.pooling == "mean":
        watch.say("pooling mean: the mean of its tokens stands for a text, in the place of the base's last layer")
    config = replace(config, max_length=min(config.max_length, shape.max_positions))
    if config.optimizer == "auto":
        config = replace(config, optimizer=base.optimizer)
    usual = default_learning_rate(shape.hidden, random_start=base.folder is None, optimizer=config.optimizer)
    encodings = {
        split: _encode(tokenizer, examples, split, data.task.WINDOWS or config.long in (WINDOWS, AUTO), watch)
        for split, examples in data.splits.parts.items()
    }
    settings, lines = data.task.settle_pieces(data.splits.train, encodings["train"], data.settings)
    data = replace(data, settings=settings)
    for line in lines:
        watch.say(line)
    long = None
    if config.long == AUTO:
        watch.progress("comparing ways to read long texts", 0, 0)
        long = choose(data, encodings["train"], config.max_length)
        watch.say(f"long texts: {long.way} — {long.why}")
        data = replace(data, settings=replace(data.settings, long=long.way))
        if long.way == WINDOWS:
            model, _ = _network(data, base, config)
    identity = {
        "data": data.splits.fingerprint,
        "task": data.task.NAME,
        "base": base.name,
        "revision": base.revision,
        "base_sha256": base.sha256,
        "settings": asdict(data.settings),
        "filbert": __version__,
        **asdict(config),
    }
    if data.soft is not None:
        identity["teachers"] = data.soft.identity
    rate = config.learning_rate or usual
    run = Run(data, base, config, device, rate, tokenizer, shape, encodings, identity, long=long)
    run.cut(config.max_length)
    return run, model


def pooling_for(head: Head, base: str, asked: str) -> str:
    """Return what stands for a text, "cls" or "mean": what was asked for, else what trained the base.

    A head that does not read [CLS] keeps its own rows: ConfigError where the mean was asked for.

    >>> pooling_for(Head(outputs=2), "mean", "auto"), pooling_for(Head(outputs=2, rows="tokens"), "mean", "auto")
    ('mean', 'cls')
    """
    if head.rows == "first":
        return base if asked == "auto" else asked
    if asked == "mean":
        raise ConfigError("--pooling mean — this task does not read one vector a text — leave it out")
    return "cls"


def _network(data: Dataset, base: Base, config: TrainConfig) -> tuple[Network, Tokenizer]:
    """Load the base, or initialise one of its size at random, with a vocabulary learned from the training texts."""
    generator, heads = torch.Generator().manual_seed(config.seed), dict[str, Tensor]()
    if base.folder is not None:
        encoder, tokenizer, heads = load_base(base.folder)
    else:
        assert base.size is not None
        tokenizer = learn([text for example in data.splits.train for text in example.inputs], VOCABULARY)
        encoder = Encoder(EncoderConfig.of_size(base.size, len(tokenizer)), generator)
    if config.pooling == "mean":
        pool_by_mean(encoder, generator)
    model = Network(encoder, data.task.head(data.settings), generator)
    if model.head.pooled and config.pooling == "mean":
        pass_on(model.pooler)
    elif model.head.pooled and "pooler.dense.weight" in heads:
        model.pooler.load_state_dict({kind: heads[f"pooler.dense.{kind}"] for kind in ("weight", "bias")})
    if config.dropout is not None:
        set_dropout(model, config.dropout)
    if (prior_O := data.task.prior(data.splits.train, data.settings)) is not None:
        with torch.no_grad():
            model.last.bias.copy_(torch.from_numpy(prior_O))
    return model, tokenizer


def _encode(
    tokenizer: Tokenizer, examples: Sequence[Example], split: str, offsets: bool, watch: Watcher
) -> list[list[Encoding]]:
    encodings: list[list[Encoding]] = []
    for begin in range(0, len(examples), ENCODED_AT_ONCE):
        part = examples[begin : begin + ENCODED_AT_ONCE]
        encodings.extend(encoded(tokenizer, [example.inputs for example in part], offsets=offsets))
        watch.progress(f"reading {split} texts", len(encodings), len(examples))
    return encodings


def warn_unreadable(tokenizer: Tokenizer, train: Sequence[Example], watch: Watcher) -> None:
    """Say so where the base's vocabulary has no pieces for much of the training texts."""
    sample = train[:: max(1, len(train) // SAMPLED)]
    texts = [" ".join(example.inputs) for example in sample]
    encodings = tokenizer.encode(texts)
    unreadable = sum(tokenizer.unk_ratio(encoding) >= UNREADABLE for encoding in encodings)
    if not unreadable:
        return
    chinese = are_chinese(texts)
    why = "they are Chinese" if chinese else "another language or script, symbols, or very long words"
    cure = f"--base {FILBERT_MINI} reads Chinese" if chinese else "a --base that knows them does better"
    of = counted(len(encodings), "training text")
    watch.say(
        f"warning: the base's vocabulary has no pieces for much of {unreadable:,} of {of}: {why}, and what it cannot "
        f"read it cannot learn from — {cure}"
    )


def cuts(windows: Sequence[Sequence[Features]], *, averaged: bool = False) -> dict[str, int]:
    """Count texts and tokens, and those that were cut; where windows are `averaged`, the texts that have several, too.

    >>> import numpy as np
    >>> cuts([[Features(np.zeros(8, np.int32), np.zeros(8, np.int32), cut=2)]])
    {'texts': 1, 'cut_texts': 1, 'tokens': 8, 'cut_tokens': 2}
    """
    long = [each for each in windows if len(each) > 1]
    return {
        "texts": len(windows),
        "cut_texts": sum(any(row.cut for row in each) for each in windows),
        "tokens": sum(len(row) for each in windows for row in each),
        "cut_tokens": sum(
            max(row.cut for row in each) if averaged else sum(row.cut for row in each) for each in windows
        ),
        **({"long_texts": len(long), "long_windows": sum(map(len, long))} if averaged else {}),
    }


def warn_cut(found: Mapping[str, int], longest: int, watch: Watcher, task: Task, *, head_only: bool = False) -> None:
    """Say how many training texts are cut, and how much of them."""
    what = f"{found['cut_texts']:,} of {counted(found['texts'], f'training {task.EXAMPLE}')}"
    if found["cut_texts"] and task.WINDOWS:
        left_out = f"the end of what is too long for a window is left out, {counted(found['cut_tokens'], 'token')}"
        watch.say(f"warning: of {what} {left_out}")
    elif found.get("long_texts"):
        many = f"{found['long_texts']:,} of {counted(found['texts'], f'training {task.EXAMPLE}')}"
        watch.say(f"longer than {longest} tokens: {many}; read whole, in {found['long_windows']:,} windows")
    elif found["cut_texts"]:
        share = found["cut_tokens"] / (found["tokens"] + found["cut_tokens"])
        kept = "the head is kept" if head_only else "head and tail are kept"
        watch.say(f"longer than {longest} tokens: {what}; {kept}, {share:.1%} of all tokens left out")
