"""Make a cascade of a finished model: fit a linear model, choose its threshold, measure both, save them.

    model folder + its texts → linear model fitted → cascade.safetensors and the threshold beside the model

Unlabelled texts, if given, are labelled by the finished model, and the linear model is trained on its predictions, too
(model compression: Buciluă et al. 2006).

The last step of `filbert fit --cascade`. The model itself does not change: it opens in `transformers` as before. For
tasks with one of several classes per text.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from filbert.config import check_points
from filbert.errors import ConfigError, DataError, counted
from filbert.finetuning.prepare import Run
from filbert.folder.save import add_cascade
from filbert.inference.engine import Engine, load
from filbert.linear.cascade import Cascade, fit_cascade, seconds_each
from filbert.linear.counts import BATCH_TEXTS
from filbert.linear.risk import NEVER, choose_threshold, upper_bound
from filbert.metrics import calibration, intervals
from filbert.progress import Watcher
from filbert.readers.documents import open_corpus, text_key
from filbert.readers.sources import open_source
from filbert.records import Encoding, FloatArray, IntArray, Prediction
from filbert.text.visible import visible

TIMED = 64  # texts
MOST_BYTES = 100_000_000  # of texts without labels, some 25 M word pieces: their runs take a gigabyte or two to count
NO_ANSWERS = np.empty(0, np.int32)


def add_cascade_to(
    engine: Engine,
    folder: Path,
    run: Run,
    points: float,
    *,
    known: Mapping[str, Sequence[Prediction]],
    unlabelled: Sequence[str] = (),
    watch: Watcher,
) -> dict[str, Any]:
    """Fit a linear model that costs at most `points` of accuracy, write it into the model's folder → report facts.

    `engine` is the model alone, `known` what it answered to the validation and test texts; `unlabelled` are more texts
    for the linear model to learn from. The promise is made on the validation texts, and measured on the test texts
    where there are any. Raises ConfigError.

    >>> add_cascade_to(engine, folder, run, 0.5, known=known, watch=Silent())["share"]  # doctest: +SKIP
    0.6
    """
    check_points(points)
    ids = {split: [engine.pieces(each) for each in encodings] for split, encodings in run.encodings.items()}
    true = {split: np.array([each[0].target for each in windows], np.int32) for split, windows in run.features.items()}
    chances = {split: _probabilities(engine, predictions) for split, predictions in known.items()}
    quick = quick_engine(folder, engine.device) if unlabelled else engine
    more, answers_N = pseudo_labelled(quick, unlabelled, watch)
    watch.say("fitting the linear model of the cascade")
    linear = fit_cascade(
        [*ids["train"], *more],
        np.concatenate((true["train"], answers_N)),
        ids["validation"],
        true["validation"],
        engine.task.head(engine.settings).outputs,
    )
    linear_NC = calibration.softmax(Cascade(linear, NEVER).answer(ids["validation"])[0])
    threshold, curve = choose_threshold(linear_NC, chances["validation"], true["validation"], points / 100)
    cascade = Cascade(linear, threshold)
    seconds = _seconds(engine, cascade, [example.inputs for example in run.data.splits.validation[:TIMED]])
    curve = [{**each, "speedup": _speedup(seconds, each["share"])} for each in curve]
    facts: dict[str, Any] = {
        "points": points,
        "texts": len(ids["validation"]),
        "pseudo_labelled": len(more),
        "least": upper_bound(np.zeros(len(ids["validation"]))),  # that so many texts can prove
        "linear": float((linear_NC.argmax(axis=1) == true["validation"]).mean()),  # accuracy of the linear model alone
        "seconds": seconds,
        "curve": curve,
        "share": 0.0,
    }
    if threshold == NEVER:
        return facts
    facts |= next(each for each in curve if each["threshold"] == threshold)
    if "test" in ids:
        facts["test"] = _measured(cascade, ids["test"], true["test"], chances["test"], seconds)
    add_cascade(folder, cascade, {"points": points, "threshold": threshold})
    return facts


def _probabilities(engine: Engine, predictions: Sequence[Prediction]) -> FloatArray:
    """Return the probability of each class, in the order of the outputs, of predictions."""
    names = [name for name, kind in engine.task.columns(engine.settings).items() if kind == "float"]
    rows = [engine.task.row(prediction, engine.settings) for prediction in predictions]
    return np.array([[row[name] for name in names] for row in rows])


def texts_of(sources: Sequence[str | Path], leave_out: Sequence[str], watch: Watcher) -> list[str]:
    """Read texts without labels, those that are held out apart, and say what is left out. Raises DataError."""
    unwanted, texts, read, left_out = {text_key(text) for text in leave_out}, list[str](), 0, 0
    for text in (text for path in sources for text in _texts(path) if visible(text)):
        if text_key(text) in unwanted:
            left_out += 1
            continue
        read += len(text.encode("utf-8", "surrogatepass"))
        if read > MOST_BYTES:
            watch.say(f"the first {len(texts):,} texts without a label are taken: they hold {MOST_BYTES / 1e6:,.0f} MB")
            break
        texts.append(text)
    if left_out:
        watch.say(f"{counted(left_out, 'text')} without a label left out: in validation or test, too")
    return texts


def _texts(path: str | Path) -> Iterator[str]:
    """Stream the texts of a source: the rows of a file, as `filbert predict` reads it, or a folder's documents."""
    try:
        source = open_source(path, labelled=False)
    except DataError:  # no table and no classes: loose texts, as --adapt takes them
        yield from ("\n".join(document.paragraphs) for document in open_corpus(path).documents())
    else:
        yield from (example.text for example in source.examples())


def quick_engine(folder: Path, device: str) -> Engine:
    """Open a model the fastest way this machine has: for answers that teach, and are no result."""
    with suppress(ConfigError):
        return load(folder, device=device, precision="int8", cascade=False)
    return load(folder, device=device, precision="auto", cascade=False)


def pseudo_labelled(engine: Engine, texts: Sequence[str], watch: Watcher) -> tuple[list[IntArray], IntArray]:
    """Let a model label texts → their word pieces, the numbers of the classes."""
    ids, answers = list[IntArray](), [NO_ANSWERS]
    for begin in range(0, len(texts), BATCH_TEXTS):
        encodings = engine.encode([(text,) for text in texts[begin : begin + BATCH_TEXTS]])
        ids += [engine.pieces(each) for each in encodings]
        answers.append(_outputs(engine, encodings).argmax(axis=1).astype(np.int32))
        watch.progress("labelling texts to learn from", len(ids), len(texts))
    return ids, np.concatenate(answers)


def _outputs(engine: Engine, encodings: Sequence[Sequence[Encoding]]) -> FloatArray:
    """Return the model's outputs_NC."""
    windows = [
        engine.task.features(each, None, engine.tokenizer, engine.settings, engine.max_length) for each in encodings
    ]
    return np.asarray(engine.outputs(windows))[:, 0]


def _seconds(engine: Engine, cascade: Cascade, inputs: Sequence[tuple[str, ...]]) -> dict[str, float]:
    """Return what a text takes: its word pieces, the linear model, BERT."""
    encodings = engine.encode(inputs)
    pieces = [engine.pieces(each) for each in encodings]
    return {
        "pieces": seconds_each(lambda: engine.encode(inputs), len(inputs)),
        "linear": seconds_each(lambda: cascade.answer(pieces), len(inputs)),
        "model": seconds_each(lambda: _outputs(engine, encodings), len(inputs)),
    }


def _speedup(seconds: Mapping[str, float], share: float) -> float:
    alone = seconds["pieces"] + seconds["model"]
    return alone / (seconds["pieces"] + seconds["linear"] + (1 - share) * seconds["model"])


def _measured(
    cascade: Cascade, ids: Sequence[IntArray], true_N: IntArray, model_NC: FloatArray, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Return what the two together do on test texts: accuracy, its loss, the share that the linear model answered."""
    logits_NC, sure_N = cascade.answer(ids)
    both_N = np.where(sure_N, logits_NC.argmax(axis=1), model_NC.argmax(axis=1))
    share = float(sure_N.mean())
    return {
        "n": len(true_N),
        "share": share,
        "accuracy": float((both_N == true_N).mean()),
        "lost": intervals.paired_difference(true_N, model_NC.argmax(axis=1), both_N),
        "speedup": _speedup(seconds, share),
    }
