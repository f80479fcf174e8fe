"""Put a linear model in front of a finished classifier: fit it, promise what it may cost, measure it, save it.

    model folder + its texts → front fitted (cascade.py) → front.safetensors and the threshold beside the model

Where there are texts without labels, the classifier labels them and the linear model learns from its answers, too
(model compression: Buciluă et al. 2006): it has to agree with BERT, and BERT has more to say than the labelled texts.

`filbert fit --cascade` ends with it. Nothing about the model itself changes: it opens in `transformers` as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from filbert.config import check_points
from filbert.data.splits import Splits
from filbert.errors import ConfigError, DataError
from filbert.folder.save import add_front
from filbert.inference.engine import Engine, load
from filbert.linear.cascade import Cascade, fit_front, seconds_each
from filbert.linear.model import AT_ONCE
from filbert.linear.risk import NEVER, choose, upper_bound
from filbert.metrics import intervals
from filbert.progress import Silent, Watcher
from filbert.readers.documents import open_corpus, text_key
from filbert.readers.sources import open_source
from filbert.records import Encoding, FloatArray, IntArray
from filbert.text.visible import visible

TIMED = 64  # texts
MOST_BYTES = 100_000_000  # of texts without labels, some 25 M word pieces: their runs take a gigabyte or two to count
NO_ANSWERS = np.empty(0, np.int32)


def put_in_front(
    engine: Engine,
    folder: Path,
    splits: Splits,
    points: float,
    *,
    encodings: Mapping[str, Sequence[Encoding]],
    known: Mapping[str, FloatArray],
    unlabelled: Sequence[str] = (),
    watch: Watcher | None = None,
) -> dict[str, Any]:
    """Fit a front that costs at most `points` of accuracy, write it into the model's folder → what the report says.

    `engine` is the model without a front, `encodings` are the word pieces of each part, `known` the probabilities it
    gave the validation and test texts; `unlabelled` are more texts for the front to learn from. The promise is made
    on the validation texts, and measured on the test texts where there are any. Raises ConfigError.

    >>> put_in_front(engine, folder, splits, 0.5, encodings=encodings, known=known)["share"]  # doctest: +SKIP
    0.6
    """
    check_points(points)
    ids = {split: [encoding.ids for encoding in encodings[split]] for split in splits.parts}
    true = {split: splits.true(split) for split in splits.parts}
    watch = watch or Silent()
    more, answers_N = pseudo_labelled(quick_engine(folder, engine.device) if unlabelled else engine, unlabelled, watch)
    watch.say("fitting a linear model to put in front")
    linear = fit_front(
        [*ids["train"], *more],
        np.concatenate((true["train"], answers_N)),
        ids["validation"],
        true["validation"],
        len(splits.labels),
    )
    front_NC, _ = Cascade(linear, NEVER).answer(ids["validation"])
    threshold, curve = choose(front_NC, known["validation"], true["validation"], points / 100)
    cascade = Cascade(linear, threshold)
    seconds = _seconds(engine, cascade, [example.text for example in splits.validation[:TIMED]])
    curve = [{**each, "speedup": _speedup(seconds, each["share"])} for each in curve]
    facts: dict[str, Any] = {
        "points": points,
        "texts": len(splits.validation),
        "pseudo_labelled": len(more),
        "least": upper_bound(np.zeros(len(splits.validation))),  # that so many texts can prove
        "front": float((front_NC.argmax(axis=1) == true["validation"]).mean()),  # its own accuracy
        "seconds": seconds,
        "curve": curve,
        "share": 0.0,
    }
    if threshold == NEVER:
        return facts
    facts |= next(each for each in curve if each["threshold"] == threshold)
    if "test" in ids:
        facts["test"] = _measured(cascade, ids["test"], true["test"], known["test"], seconds)
    add_front(folder, cascade, {"points": points, "threshold": threshold})
    return facts


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
        watch.say(f"{left_out:,} texts without a label stand in validation or test, too: left out")
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
    """Let a classifier label texts → their word pieces, its answers."""
    ids, answers = list[IntArray](), [NO_ANSWERS]
    for begin in range(0, len(texts), AT_ONCE):
        encodings = engine.encode(texts[begin : begin + AT_ONCE])
        ids += [encoding.ids for encoding in encodings]
        answers.append(engine.score(encodings).argmax(axis=1).astype(np.int32))
        watch.progress("labelling texts to learn from", len(ids), len(texts))
    return ids, np.concatenate(answers)


def _seconds(engine: Engine, cascade: Cascade, texts: Sequence[str]) -> dict[str, float]:
    """Return what a text takes: its word pieces, the front, the model."""
    encodings = engine.encode(texts)
    return {
        "pieces": seconds_each(lambda: engine.encode(texts), len(texts)),
        "front": seconds_each(lambda: cascade.answer([encoding.ids for encoding in encodings]), len(texts)),
        "model": seconds_each(lambda: engine.score(encodings), len(texts)),
    }


def _speedup(seconds: Mapping[str, float], share: float) -> float:
    alone = seconds["pieces"] + seconds["model"]
    return alone / (seconds["pieces"] + seconds["front"] + (1 - share) * seconds["model"])


def _measured(
    cascade: Cascade, ids: Sequence[IntArray], true_N: IntArray, model_NC: FloatArray, seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Return what the two together do on test texts: the accuracy, what it lost, how many the front answered."""
    front_NC, sure_N = cascade.answer(ids)
    both_N = np.where(sure_N, front_NC.argmax(axis=1), model_NC.argmax(axis=1))
    share = float(sure_N.mean())
    return {
        "n": len(true_N),
        "share": share,
        "accuracy": float((both_N == true_N).mean()),
        "lost": intervals.paired_difference(true_N, model_NC.argmax(axis=1), both_N),
        "speedup": _speedup(seconds, share),
    }
