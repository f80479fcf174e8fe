"""Few labels: the encoder learns which texts have one label and which have not, then a linear layer learns the labels.

    texts → batches of some texts of some classes → all pairs of a batch → encoder        (contrastive, a minute)
          → vectors of all texts → logistic regression → pooler and classifier            (a second)

The loss on pairs is that of SetFit (Tunstall et al. 2022): the cosine of two texts is to be 1 where they have one label
and 0 where they have not. SetFit draws pairs and encodes two texts for each; here a batch of n texts gives all of its
n · (n - 1) / 2 pairs. Whether the encoder is trained at all is chosen by texts that nothing was trained on: validation
texts where they are given, else each text is answered by models that were trained without its fold.

Shapes: N texts, D hidden width, C classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn itself requires it
from torch import Tensor
from torch.nn import functional as F

from filbert.bases.find import Base
from filbert.config import TrainConfig
from filbert.data.groups import folds, same_text
from filbert.errors import ConfigError
from filbert.finetuning.dataset import Dataset
from filbert.finetuning.frozen import answers, seen, vectors_of, write_head
from filbert.finetuning.prepare import Run, cuts, warn_cut
from filbert.finetuning.train import Result, job_of
from filbert.finetuning.trainings import keep, recalled
from filbert.model.network import Network
from filbert.model.packing import pack, split_by_budget
from filbert.model.run import Tensors, outputs
from filbert.progress import Watcher
from filbert.records import Features, FloatArray, IntArray, PackedBatch
from filbert.tasks.task import Json
from filbert.training.job import Trained
from filbert.training.log import LOG
from filbert.training.loop import Loop
from filbert.training.plan import Plan

MOST = 64  # texts of a class, on average, up to which this way is proposed
CROSSED = 1_000  # training texts up to which a validation part is not worth its texts
ONE_BY_ONE = ("windows", "auto")  # ways of reading a long text in several windows, or perhaps
FOLDS = 2  # then: more take longer than the training itself
PASSES = 12.0  # over the texts, where they are few: 27 were no better on trec6 …
SEEN = 20_000  # … and texts seen at most
OF_A_CLASS = 4  # texts in a batch, where there are too many classes for all to be in it
STRENGTH = 10.0  # C of the logistic regression, on vectors of length 1


def by_pairs(data: Dataset, base: Base, config: TrainConfig, watch: Watcher) -> TrainConfig:
    """Return the options with `few_shot` decided: then the base's own pooling is used. Where it may pay, say so.

    Raises ConfigError where it cannot be.

    >>> by_pairs(data, base, TrainConfig(few_shot=True), watch).pooling  # doctest: +SKIP
    'auto'
    """
    if config.few_shot is None and (seen := seems_few(data, base, config)):
        watch.say(f"few labels: {seen}; --few-shot learns them by pairs of texts, --no-few-shot keeps this line away")
    if not config.few_shot:
        return replace(config, few_shot=False)
    if reason := _impossible(data, base, config):
        raise ConfigError(f"--few-shot — {reason} — leave it out")
    return replace(config, pooling="auto")


def seems_few(data: Dataset, base: Base, config: TrainConfig) -> str:
    """Return how few labels there are, as words, or nothing where they are many or cannot be learned in this way.

    >>> seems_few(data, base, TrainConfig())  # doctest: +SKIP
    '16 texts, 8 of a label'
    """
    if base.pooling != "mean" or config.epochs is not None or _impossible(data, base, config):
        return ""
    splits = data.splits
    texts = len(splits.train) + (len(splits.validation) if splits.made else 0)
    classes = len({*data.task.classes(splits.train)})
    return f"{texts:,} texts, {texts / classes:.3g} of a label" if texts <= MOST * classes else ""


def _impossible(data: Dataset, base: Base, config: TrainConfig) -> str:
    if data.task.FEW_SHOT:
        return data.task.FEW_SHOT
    if base.folder is None:
        return f"base {base.name} has random weights, and few texts cannot train them"
    if config.balance != "none" or config.tune is not None or config.ensemble != 1:
        return "it trains once, and draws all labels alike: it has no --balance, --tune or --ensemble"
    if config.long in ONE_BY_ONE:
        return f"it learns one vector of a text, and --long {config.long} may read several windows"
    return ""


def pooled(data: Dataset, config: TrainConfig, *, kept: bool = False) -> Dataset:
    """Return the data set with a validation part that was made from train put back, where the texts are few.

    Then both parts are the same texts, and what is said of validation texts comes from models that did not see them.
    The data set as it is without `few_shot`, or where its validation part is to be `kept`: a cascade and --unknown
    learn from texts that the model has not seen.

    >>> pooled(data, TrainConfig(few_shot=True)).splits.fold_of  # doctest: +SKIP
    (2, 0, 3, 1)
    """
    splits = data.splits
    both = [*splits.train, *splits.validation]
    if kept or not config.few_shot or not splits.made or data.group is not None or len(both) > CROSSED:
        return data
    classes = [name for (name,) in data.task.classes(both)]
    count = min(FOLDS, *Counter(classes).values())
    if count < 2:
        return data  # no text of that class would be left beside its fold
    fold_of = folds([same_text(example) for example in both], data.task.strata(both), count, config.seed)
    for fold in range(count):
        if len({name for name, each in zip(classes, fold_of, strict=True) if each != fold}) < len({*classes}):
            return data  # a class has one text, repeated
    return replace(data, splits=replace(splits, train=both, validation=both, fold_of=tuple(fold_of)))


@dataclass
class PairFeed:
    """Batches of some texts of some classes, the same ones for the same seed and step."""

    features: Sequence[Features]
    class_N: IntArray
    batch_size: int
    budget: int
    seed: int
    _by_class: list[IntArray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_class = [np.flatnonzero(self.class_N == c).astype(np.int32) for c in np.unique(self.class_N)]

    @property
    def steps(self) -> int:
        """Optimizer steps in a pass."""
        return math.ceil(len(self.features) / self.batch_size)

    @property
    def tokens(self) -> float:
        """Tokens of a pass."""
        return float(sum(map(len, self.features)))

    @property
    def ids(self) -> IntArray:
        """The token ids that a run meets, each once."""
        return np.unique(np.concatenate([row.ids for row in self.features]))

    def rows(self, step: int, progress: float) -> IntArray:
        """Return the texts of a step: one of each class, then another one of each …"""
        random, classes = np.random.default_rng((self.seed, step)), len(self._by_class)
        together = min(classes, max(2, self.batch_size // OF_A_CLASS))
        each = max(2, self.batch_size // together)
        drawn = [random.permutation(self._by_class[c])[:each] for c in random.permutation(classes)[:together]]
        return np.array([rows[n] for n in range(each) for rows in drawn if n < len(rows)], dtype=np.int32)

    def batches(self, step: int, progress: float) -> list[PackedBatch]:
        """Return the packed parts of a step, each within the token budget."""
        order = self.rows(step, progress)
        parts = split_by_budget(order, [len(self.features[i]) for i in order], self.budget)
        return [pack(self.features, part) for part in parts]


class PairJob:
    """The encoder as the training loop sees it: its vectors, and the loss on pairs of them."""

    losses: tuple[str, ...] = ("loss",)
    keep: tuple[str, ...] = ()

    def __init__(self, model: Network) -> None:
        self.model = vectors_of(model)

    def loss(self, batch: PackedBatch, tensors: Tensors) -> Tensor:
        """Return the loss on all pairs of a packed batch, times its texts."""
        return pair_loss(self.model(*tensors), torch.as_tensor(batch.targets_B, device=tensors[0].device))

    def units(self, batch: PackedBatch) -> tuple[int, ...]:
        """Return the number of texts."""
        return (len(batch.order_B),)

    def validate(self) -> tuple[tuple[float, ...], dict[str, float]]:
        """Return nothing: there is one validation, at the end, and it is of the linear layer."""
        return (0.0,), {}


def pair_loss(vectors_BD: Tensor, class_B: Tensor) -> Tensor:
    """Return the squared error of the cosines, pairs of one class and of two weighing the same, times the texts.

    >>> pair_loss(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])).item()
    0.0
    """
    unit_BD = F.normalize(vectors_BD, dim=1)
    cosines_BB = unit_BD @ unit_BD.T
    same_BB = class_B[:, None] == class_B[None]
    other_BB, same_BB = ~same_BB, same_BB & ~torch.eye(len(class_B), dtype=torch.bool, device=class_B.device)
    near = ((1 - cosines_BB) ** 2 * same_BB).sum() / same_BB.sum().clamp(min=1)
    apart = (cosines_BB**2 * other_BB).sum() / other_BB.sum().clamp(min=1)
    return (near + apart) * (len(class_B) / 2)


def set_head(model: Network, rows_ND: FloatArray, class_N: IntArray) -> None:
    """Fit the linear layer on the vectors of texts, as it will see them: nothing is approximate."""
    linear = LogisticRegression(C=STRENGTH, max_iter=1_000)
    with threadpool_limits(1, user_api="blas"):  # more threads are slower on a busy machine
        linear.fit(seen(rows_ND), class_N)
    weight_CD, bias_C = linear.coef_, linear.intercept_
    if len(weight_CD) == 1:  # of two classes one is given, the difference
        weight_CD, bias_C = np.concatenate((-weight_CD, weight_CD)) / 2, np.concatenate((-bias_C, bias_C)) / 2
    write_head(model, torch.from_numpy(weight_CD), torch.from_numpy(bias_C))


@dataclass
class Encoders:
    """Trains the encoder on some of a run's texts; what is finished is taken from the folder of an interrupted run."""

    run: Run
    rows: Sequence[Features]
    class_N: IntArray
    plan: Plan
    work: Path
    track: Sequence[str]
    watch: Watcher

    def vectors(self, model: Network, rows: Sequence[Features]) -> FloatArray:
        """Return vectors_ND of texts."""
        return outputs(vectors_of(model), rows, self.run.device)

    def of_fold(self, learned_N: IntArray, number: int) -> Network:
        """Return a network whose encoder was trained on these texts."""
        folder, model = self.work / f"fold-{number}", self.run.network().to(self.run.device)
        identity = {**self.run.identity, "fold": number}
        known = recalled(folder, identity)
        if known is None:
            trained = self.train(model, learned_N, folder / "checkpoints", track=())
            keep(folder, identity, (trained, self.plan), model.state_dict())
        else:
            model.load_state_dict(known.weights())
        return model

    def train(self, model: Network, learned_N: IntArray, folder: Path, *, track: Sequence[str]) -> Trained:
        """Train the encoder of a network on these texts."""
        run = self.run
        feed = PairFeed(
            [replace(self.rows[i], target=self.class_N[i]) for i in learned_N.tolist()],
            self.class_N[learned_N],
            run.config.batch_size,
            run.config.tokens_per_batch,
            run.config.seed,
        )
        loop = Loop(
            PairJob(model),
            feed,
            run.config,
            self.plan,
            layers=run.encoder_config.layers,
            rate=run.rate,
            folder=folder,
            identity={**run.identity, "texts": len(learned_N)},
            device=run.device,
            rows={"encoder.embeddings.token.weight": torch.from_numpy(feed.ids)},
            watch=self.watch,
            track=track,
        )
        loop.validations = 1  # at the end
        return loop.run()


def few_shot(run: Run, model: Network, out: Path, *, track: Sequence[str], watch: Watcher) -> Result:
    """Train a run on few texts: the linear layer, and the encoder where that is better on texts it has not seen.

    Raises as the training loop does. An interrupted run goes on with the training that it was at.
    """
    task, settings, splits = run.data.task, run.data.settings, run.data.splits
    rows = [window for (window,) in run.features["train"]]
    class_N: IntArray = np.array([row.target for row in rows], dtype=np.int32)
    whole_N, crossed = np.arange(len(rows), dtype=np.int32), bool(splits.fold_of)
    asked = rows if crossed else [window for (window,) in run.features["validation"]]
    parts = _parts(splits.fold_of) if crossed else [(whole_N, np.arange(len(asked), dtype=np.int32))]
    encoders = Encoders(run, rows, class_N, _plan(run.config, len(rows), len(parts)), out / "checkpoints", track, watch)
    warn_cut(cuts(run.features["train"]), run.config.max_length, watch, task)
    model.to(run.device)
    frozen_ND = encoders.vectors(model, rows)
    given = {"frozen": frozen_ND if crossed else encoders.vectors(model, asked)}
    found = {how: np.zeros((len(asked), 1, model.head.outputs)) for how in ("frozen", "tuned")}
    trained, tuned = Trained(stopped="the encoder as it was validates best"), run.network().to(run.device)
    for number, (learned_N, asked_N) in enumerate(parts, 1):
        set_head(model, frozen_ND[learned_N], class_N[learned_N])
        found["frozen"][asked_N, 0] = answers(model, given["frozen"][asked_N])
        if crossed:
            told = f"{len(learned_N):,} texts to train on, {len(asked_N):,} to answer"
            watch.say(f"fold {number} of {len(parts)}: {told}")
            tuned = encoders.of_fold(learned_N, number)
        else:
            trained = encoders.train(tuned, learned_N, out / "checkpoints", track=track)
        set_head(tuned, encoders.vectors(tuned, [rows[i] for i in learned_N]), class_N[learned_N])
        found["tuned"][asked_N, 0] = answers(tuned, encoders.vectors(tuned, [asked[i] for i in asked_N]))
    tried = {how: task.validate(each, splits.validation, settings) for how, each in found.items()}
    best = max(tried, key=lambda how: tried[how][0])
    watch.say(f"encoder {best}: " + ", ".join(f"{how} {_first(figures)}" for how, (_, figures) in tried.items()))
    if best == "frozen":
        set_head(model, frozen_ND, class_N)
        (out / LOG).touch()
    elif crossed:
        trained = encoders.train(model, whole_N, out / "checkpoints", track=track)
        set_head(model, encoders.vectors(model, rows), class_N)
    else:
        model = tuned
    job = job_of(run, model)
    job.unseen = found[best] if crossed else None
    goal, figures = tried[best]
    trained = replace(trained, best_score=goal, best_figures=dict(figures), best_step=trained.steps)
    facts: Json = {"chosen": best, "folds": len(parts) if crossed else None, "texts": len(rows)}
    facts |= {"classes": len({*class_N.tolist()}), "tried": {how: each[1] for how, each in tried.items()}}
    return Result(trained, job, encoders.plan, {"balance": "none"}, run.config, {"few_shot": facts})


def _parts(fold_of: Sequence[int]) -> list[tuple[IntArray, IntArray]]:
    """Return for each fold the texts that are learned and those that are answered."""
    fold_N = np.array(fold_of)
    pairs = [(np.flatnonzero(fold_N != k), np.flatnonzero(fold_N == k)) for k in range(max(fold_of) + 1)]
    return [(learned_N.astype(np.int32), asked_N.astype(np.int32)) for learned_N, asked_N in pairs]


def _plan(config: TrainConfig, texts: int, parts: int) -> Plan:
    """Return how long the encoder is trained on so many texts; a time budget is shared by all trainings."""
    passes = config.epochs or min(PASSES, max(1.0, SEEN / texts))
    trainings = parts + 1 if parts > 1 else 1
    seconds = None if config.minutes is None else 60 * config.minutes / trainings
    return Plan(passes, config.max_length, seconds=seconds)


def _first(figures: Mapping[str, float]) -> str:
    name, value = next(iter(figures.items()))
    return f"{name.replace('_', ' ')} {value:.4f}"
