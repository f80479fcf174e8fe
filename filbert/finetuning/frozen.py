"""A frozen encoder under a new last layer: the vectors of the texts once, then a convex problem, in seconds.

    texts → encoder as it is → vectors → last layer by L-BFGS → the strength of its penalty that validates best

Fine-tuning has to beat this to be worth its time; where texts are few, or time is short, it may not (Kumar et al.
2022). The pooler becomes the identity but for its scale, so that the model is an ordinary BERT classifier.

Shapes: N texts, D hidden width, O outputs.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from filbert.errors import counted
from filbert.finetuning.prepare import Run
from filbert.finetuning.trainings import Training, keep, recalled
from filbert.model.head import Head
from filbert.model.network import Network
from filbert.model.packing import pack
from filbert.model.run import outputs
from filbert.progress import Watcher
from filbert.records import Features, FloatArray, PackedBatch
from filbert.tasks.task import Goal
from filbert.training.job import Trained
from filbert.training.plan import Plan

MOST = 2_000  # training texts: their vectors take at most a twelfth of the time of the default schedule
AT_ONCE = 250  # texts, between two looks at the clock
SHARE = 0.1  # of --minutes, at most
SMALL = 1 / 32  # scale of the pooler: tanh changes vectors of variance 1 by less than a thousandth there
STRENGTHS = (1.0, 10.0, 100.0)  # of which one is chosen: the penalty is the squared weights by twice as much
ITERATIONS = 100


def has_frozen(run: Run) -> bool:
    """Say whether a frozen encoder can answer: it is a trained one, and a text has one window and one vector.

    >>> has_frozen(run)  # doctest: +SKIP
    True
    """
    head, data = run.data.task.head(run.data.settings), run.data
    plain = head.one_row and head.pooled and not head.weighed and not data.task.WINDOWS
    return plain and run.base.folder is not None and data.soft is None and run.config.balance == "none"


def frozen(run: Run, folder: Path, watch: Watcher) -> Training:
    """Fit the last layer on the vectors of the training texts, or take what `folder` keeps of an interrupted run.

    With `minutes` a tenth of them is spent at most, on fewer texts.

    >>> frozen(run, out / "checkpoints" / "frozen", Silent()).trained.best_figures["accuracy"]  # doctest: +SKIP
    0.81
    """
    identity = {**run.identity, "frozen": True}
    known = recalled(folder, identity)
    if known is not None:
        return known
    watch.progress("frozen encoder", 0, 0)
    began, model = time.monotonic(), run.network().to(run.device)
    texts, goal, figures = _fit(run, model, began)
    told = Trained(seconds=time.monotonic() - began, best_score=goal, best_figures=figures)
    first = f"{told.best_by} {next(iter(figures.values())):.4f}"
    watch.say(f"frozen encoder: {first} after {told.seconds:.0f} s, on {counted(texts, 'text')}")
    folder.mkdir(parents=True, exist_ok=True)
    return keep(folder, identity, (told, Plan(0.0, run.config.max_length)), model.state_dict(), texts=texts)


def _fit(run: Run, model: Network, began: float) -> tuple[int, Goal, dict[str, float]]:
    """Fit the last layer of a network → texts it was fitted on, how it validates."""
    task, settings, splits = run.data.task, run.data.settings, run.data.splits
    encoder, rows = vectors_of(model), [window for (window,) in run.features["train"]]
    asked_ND = outputs(encoder, [window for (window,) in run.features["validation"]], run.device)
    chosen = np.random.default_rng(run.config.seed).permutation(len(rows))[:MOST].tolist()
    parts, read = list[FloatArray](), list[Features]()
    for begin in range(0, len(chosen), AT_ONCE):
        some = [rows[i] for i in chosen[begin : begin + AT_ONCE]]
        parts.append(outputs(encoder, some, run.device))
        read += some
        if run.config.minutes is not None and time.monotonic() - began > 60 * SHARE * run.config.minutes:
            break
    given_ND, batch, best = seen(np.concatenate(parts)), pack(read), None
    start_O = task.prior(splits.train, settings)
    weight_OD, bias_O = torch.zeros(model.head.outputs, given_ND.shape[1]), torch.zeros(model.head.outputs)
    if start_O is not None:
        bias_O = torch.from_numpy(start_O).float()
    for strength in STRENGTHS:
        weight_OD, bias_O = solve(run, batch, given_ND, (weight_OD, bias_O), strength=strength)
        write_head(model, weight_OD, bias_O)
        found_NO = answers(model, asked_ND)
        goal, figures = task.validate(found_NO[:, None], splits.validation, settings, run.features["validation"])
        if best is None or goal > best[0]:
            best = goal, figures, weight_OD, bias_O
    assert best is not None
    write_head(model, best[2], best[3])
    return len(read), best[0], dict(best[1])


def solve(
    run: Run, batch: PackedBatch, given_ND: FloatArray, start: tuple[Tensor, Tensor], *, strength: float
) -> tuple[Tensor, Tensor]:
    """Return weight_OD and bias_O that minimise the task's loss on these vectors, with a penalty on large weights.

    >>> solve(run, batch, given_ND, (weight_OD, bias_O), strength=10.0)[1].shape  # doctest: +SKIP
    torch.Size([3])
    """
    given = torch.from_numpy(given_ND).float()
    weight_OD, bias_O = (each.clone().requires_grad_() for each in start)
    optimizer = torch.optim.LBFGS([weight_OD, bias_O], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        found = run.data.task.loss(F.linear(given, weight_OD, bias_O), batch, run.data.settings)
        total = found + weight_OD.square().sum() / (2 * strength)
        total.backward()  # type: ignore[no-untyped-call]
        return float(total.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight_OD.detach(), bias_O.detach()


# -- the head ---------------------------------------------------------------------------------------------------------


def vectors_of(model: Network) -> Network:
    """Return a network that gives the rows which the head of `model` sees, from the same encoder.

    >>> vectors_of(model).head.last  # doctest: +SKIP
    ''
    """
    found = Network(model.encoder, Head(model.encoder.config.hidden, pooled=False, last=""))
    found.dropout.dropped = 0
    return found


def seen(rows_ND: FloatArray) -> FloatArray:
    """Return vectors of texts as the last layer sees them through `write_head`'s pooler, scaled to a length near 1.

    >>> seen(np.ones((1, 4))).round(3).tolist()
    [[0.5, 0.5, 0.5, 0.5]]
    """
    return np.tanh(SMALL * rows_ND) / (SMALL * math.sqrt(rows_ND.shape[1]))


def write_head(model: Network, weight_OD: Tensor, bias_O: Tensor) -> None:
    """Make a layer on `seen` vectors the head of a network; the pooler before it becomes the identity times SMALL."""
    with torch.no_grad():
        if model.head.pooled:
            torch.nn.init.eye_(model.pooler.weight).mul_(SMALL)
            model.pooler.bias.zero_()
        model.last.weight.copy_(weight_OD / (SMALL * math.sqrt(weight_OD.shape[1])))
        model.last.bias.copy_(bias_O)


def answers(model: Network, rows_ND: FloatArray) -> FloatArray:
    """Return outputs_NO of a network's head for vectors that its encoder gave.

    >>> answers(model, rows_ND).shape  # doctest: +SKIP
    (48, 6)
    """
    with torch.inference_mode():
        rows = torch.from_numpy(rows_ND).float().to(model.last.weight.device)
        hidden = torch.tanh(model.pooler(rows)) if model.head.pooled else rows
        return np.asarray(model.last(hidden).double().cpu().numpy())
