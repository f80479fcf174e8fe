"""Every knob there is, frozen, a line of documentation under each, checked once when made.

EncoderConfig is the shape of a BERT. RunConfig is what every training run has; TrainConfig adds what fine-tuning needs,
PretrainConfig what pre-training needs. What a knob cannot be is said at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace

from typing_extensions import Self

from filbert.errors import ConfigError, shown

SIZES = {  # layers, hidden, heads: Turc et al. 2019, and Devlin et al. 2018 for base and large
    "tiny": (2, 128, 2),
    "mini": (4, 256, 4),
    "small": (4, 512, 8),
    "medium": (8, 512, 8),
    "base": (12, 768, 12),
    "large": (24, 1024, 16),
}
BALANCES = ("none", "weights", "sampling", "auto")
MOST_MEMBERS = 20  # trainings that are averaged: more cost much and change little (Wortsman et al. 2022)
POOLINGS = ("cls", "mean", "auto")
LONG = ("head-tail", "head", "windows", "auto")
MOST = 10**15  # of anything that is counted: what lies above is a slip
UNKNOWN = 0.05  # share of the texts of known classes that may be told unknown, by `auto`
SCORING = ("fp32", "bf16", "int8", "auto")  # precisions of a model that does not train


def check_points(points: float) -> None:
    """Raise a ConfigError for points of accuracy that cannot be promised.

    >>> check_points(0.5)
    """
    if not 0 < points < 100:
        raise ConfigError(
            f"a cascade that costs at most {points:g} points cannot be — give more than 0, 0.5 for instance"
        )


def check_rate(rate: float | None, reason: str = "", option: str = "--abstain", of: str = "wrong answers") -> None:
    """Raise a ConfigError for a share that cannot be allowed; `reason`: why the task has none.

    >>> check_rate(0.02)
    """
    if rate is not None and reason:
        raise ConfigError(f"{option} — {reason} — leave it out")
    if rate is not None and not 0 <= rate < 1:
        raise ConfigError(f"{option} {rate:g} — is no share of {of} — give 2% or 0.02 for two in a hundred")


def budget(given: int | str) -> tuple[int | None, float | None]:
    """Return the budget of a search for options as trials or as minutes; ConfigError where it is neither.

    >>> budget(20), budget("30min"), budget("1.5h")
    ((20, None), (None, 30.0), (None, 90.0))
    """
    found = re.fullmatch(r"(\d{1,4}(?:\.\d+)?) ?(min|minutes|h|hours)?", str(given).strip())
    amount, unit = (float(found[1]), found[2]) if found else (0.0, None)
    minutes = amount * (60 if unit and unit[0] == "h" else 1)
    if found is None or (unit is None and ("." in found[1] or amount < 2)) or minutes <= 0:
        raise ConfigError(f"tune is {shown(str(given))} — give trials, at least 2, or a time: 20, 30min, 2h")
    return (int(amount), None) if unit is None else (None, minutes)


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of a BERT encoder (Devlin et al. 2018).

    >>> EncoderConfig.of_size("mini", vocab_size=16_000).hidden
    256
    """

    vocab_size: int
    """Rows of the token embedding."""
    layers: int = 6
    """Transformer layers."""
    hidden: int = 384
    """Width of every hidden state."""
    heads: int = 12
    """Attention heads; they divide `hidden`."""
    intermediate: int = 1536
    """Width inside the feed-forward part, four times `hidden` in BERT."""
    max_positions: int = 512
    """Longest text in tokens, [CLS] and [SEP] included."""
    segments: int = 2
    """Segment (token type) embeddings."""
    position: str = "learned"
    """`learned`, as in every published checkpoint, or `sinusoidal` (Vaswani et al. 2017)."""
    dropout: float = 0.1
    """Dropped share of embeddings, layer outputs and pooled vector in training; attention weights are never dropped."""
    norm_eps: float = 1e-12
    """Added to the variance in layer norm."""

    def __post_init__(self) -> None:
        for name in ("vocab_size", "layers", "hidden", "heads", "intermediate", "max_positions", "segments"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)} — give a whole number of at least 1")
        if self.hidden % self.heads:
            raise ConfigError(f"hidden {self.hidden} is not divisible by heads {self.heads} — change one of them")
        if self.position not in ("learned", "sinusoidal"):
            raise ConfigError(f"position is {self.position!r} — choose 'learned' or 'sinusoidal'")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout} — give a share from 0 to below 1")

    @classmethod
    def of_size(cls, size: str, vocab_size: int) -> EncoderConfig:
        """Return the standard shape of that name: tiny, mini, small, medium, base or large."""
        if size not in SIZES:
            raise ConfigError(f"size {size!r} is unknown — choose one of {', '.join(SIZES)}")
        layers, hidden, heads = SIZES[size]
        return cls(vocab_size, layers=layers, hidden=hidden, heads=heads, intermediate=4 * hidden)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What every training run has: its length, its optimizer, its seed."""

    epochs: float | None = None
    """Passes over the training texts; None: as many as the kind of run finds fitting."""
    minutes: float | None = None
    """Wall-clock budget for training: the schedule is fitted to it, the best validated model comes out at its end."""
    tokens_per_batch: int = 8_192
    """Most tokens in memory at once; a larger batch is split, its gradients added up."""
    learning_rate: float | None = None
    """Peak of the schedule, reached after the warm-up; None: by the width of the encoder."""
    optimizer: str = "auto"
    """`adamw` (Loshchilov & Hutter 2019), `muon` (Jordan 2024) for the matrices inside the layers, or `auto`: what
    trained the base, and AdamW where its folder does not say or nothing was trained yet."""
    warmup: float = 0.06
    """Share of the run over which the learning rate rises."""
    decay: float = 1.0
    """Share of the run over which the rate falls to 0, in a straight line; less than 1 - warmup: stable in between."""
    layer_decay: float = 1.0
    """Factor on the learning rate per layer from the top down (Sun et al. 2019 use 0.95); 1 is off."""
    weight_decay: float = 0.01
    """Decoupled weight decay, not on biases and layer norms."""
    clip: float = 1.0
    """Largest gradient norm."""
    patience: int = 3
    """Validations without a better score after which training stops early."""
    seed: int = 0
    """Fixes split, initialisation, order and dropout; on a CPU, with as many threads, the weights to the bit."""
    precision: str = "auto"
    """`fp32`, `bf16`, or `auto`: bf16 where the processor multiplies it natively."""

    def __post_init__(self) -> None:
        self._positive("epochs", "minutes", "tokens_per_batch", "learning_rate", "clip", "patience")
        if not 0 <= self.seed < 2**32:  # as numpy's and scikit-learn's
            raise ConfigError(f"seed is {self.seed} — give a whole number from 0 to {2**32 - 1:,}")
        if not 0 <= self.warmup < 1:
            raise ConfigError(f"warmup is {self.warmup} — give a share of the run from 0 to below 1")
        for name in ("decay", "layer_decay"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)} — give a number above 0, at most 1")
        if not 0 <= self.weight_decay < float("inf"):
            raise ConfigError(f"weight_decay is {self.weight_decay} — give 0 or more")
        for name, choices in (("precision", ("auto", "fp32", "bf16")), ("optimizer", ("auto", "adamw", "muon"))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r} — choose {', '.join(choices)}")

    def _positive(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not 0 < value <= MOST:
                raise ConfigError(f"{name} is {value:,} — give a number above 0, at most {MOST:,}")

    def with_options(self, **options: object) -> Self:
        """Return a copy with the given options changed; None leaves an option as it is."""
        known = {f.name for f in fields(self)}
        unknown = [name for name in options if name not in known]
        if unknown:
            raise ConfigError(f"unknown option {unknown[0]!r} — known are {', '.join(sorted(known))}")
        return replace(self, **{k: v for k, v in options.items() if v is not None})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig):
    """How a model is fine-tuned; every default is what the accuracy table in bench/RESULTS.md was made with."""

    batch_size: int = 32
    """Texts per optimizer step."""
    max_length: int = 512
    """Longest text in tokens, [CLS] and [SEP] included; longer ones keep their head and tail."""
    early_length: int = 128
    """Longest text in the first half of a run of two epochs or more; on IMDb that half takes a quarter of the time."""
    balance: str = "none"
    """What is done about uneven classes: `none`, `weights` (of the loss), `sampling` (rare classes are drawn more
    often), or `auto`: all three are trained and the best by validation is kept."""
    head_factor: float = 10.0
    """Learning rate of a classification head on a trained base, in multiples of the base's, up to 1e-3; 1 is off."""
    few_shot: bool | None = None
    """Train by pairs of texts, then a linear layer on their vectors; None: no, but say where it may pay."""
    dropout: float | None = None
    """Dropped share while training; None: the base's, 0.1 in BERT."""
    tune: int | str | None = None
    """Budget of a search for the options that are not given, in trials (`20`) or time (`"30min"`); None: no search."""
    ensemble: int = 1
    """Trainings, the seed alone changed, whose weights are averaged where that validates better."""
    pooling: str = "auto"
    """What stands for a text: `cls`, the vector of [CLS]; `mean`, that of all its tokens, by a layer in the place of
    the last one; or `auto`: the mean where it trained the base."""
    long: str = "head-tail"
    """How a text longer than `max_length` is read: its first quarter and its end (`head-tail`), its `head` alone, the
    whole text in overlapping `windows` whose outputs are averaged by a trained weight, or `auto`: what a linear model
    learns more of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("batch_size", "head_factor")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout} — give a share from 0 to below 1")
        if not 1 <= self.ensemble <= MOST_MEMBERS:
            raise ConfigError(f"ensemble is {self.ensemble} — give 1 to {MOST_MEMBERS} trainings")
        if self.tune is not None and budget(self.tune) and self.minutes is not None:
            wanted = "the time of a search is its budget: --tune 30min"
            raise ConfigError(f"--minutes and --tune exclude each other — {wanted}")
        for name in ("max_length", "early_length"):
            if getattr(self, name) < 8:
                raise ConfigError(f"{name} is {getattr(self, name)} — give at least 8 tokens")
        if self.balance not in BALANCES:
            raise ConfigError(f"balance is {self.balance!r} — choose {', '.join(BALANCES)}")
        if self.pooling not in POOLINGS:
            raise ConfigError(f"pooling is {self.pooling!r} — choose {', '.join(POOLINGS)}")
        if self.long not in LONG:
            raise ConfigError(f"long is {shown(self.long)} — choose {', '.join(LONG)}")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(RunConfig):
    """How a model is pre-trained: masked language modelling, and next sentence prediction beside it."""

    tokens: int | None = None
    """Tokens to train on, instead of `epochs`."""
    batch_tokens: int | None = None
    """Tokens per optimizer step, over all processes; 16,384 from random weights, 4,096 from a base model."""
    length: int = 128
    """Longest training text in tokens, [CLS] and [SEP] included."""
    long_length: int = 512
    """The same for some of the steps, so that all positions are learned (Devlin et al. 2018, appendix A.2)."""
    long_share: float = 0.1
    """Share of the steps that read the longer texts, evenly over the run."""
    mask_rate: float = 0.15
    """Share of tokens to be predicted: 80 % of them become [MASK], 10 % another token, 10 % stay."""
    whole_words: bool = False
    """Mask all pieces of a word together; in Chinese, of a word as `jieba` cuts it."""
    next_sentence: bool = True
    """Train next sentence prediction, too."""
    dropout: float = 0.0
    """Dropped share while pre-training; a run of one or two passes does not overfit (Geiping & Goldstein 2022)."""
    warmup: float = 0.02
    decay: float = 0.3
    patience: int = 1_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("tokens", "batch_tokens")
        for name in ("length", "long_length"):
            if getattr(self, name) < 8:
                raise ConfigError(f"{name} is {getattr(self, name)} — give at least 8 tokens")
        if self.batch_tokens is not None and self.batch_tokens < max(self.length, self.long_length):
            raise ConfigError(f"batch_tokens is {self.batch_tokens} — give at least the longest text's tokens")
        if not 0 < self.mask_rate < 1:
            raise ConfigError(f"mask_rate is {self.mask_rate} — give a share above 0 and below 1")
        for name in ("dropout", "long_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)} — give a share from 0 to below 1")
