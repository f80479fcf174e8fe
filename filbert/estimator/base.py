"""What the estimators share: the parameters of a fit, the way to it, and texts out of lists, arrays and tables."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from filbert.config import TrainConfig
from filbert.errors import ConfigError, DataError, Place, Problem, counted, shown
from filbert.finetuning.dataset import Dataset, read_dataset
from filbert.finetuning.fit import Fitted, fit
from filbert.inference.engine import Engine, load
from filbert.inference.explain import Explanation
from filbert.records import Prediction
from filbert.text.visible import visible

Inputs = list[tuple[str, ...]]
LISTED = 8  # rows named in a warning


class TextEstimator(BaseEstimator):  # type: ignore[misc]
    """What all estimators share: the parameters of a fit, and the fit itself."""

    def __init__(
        self,
        base: str | None = None,
        *,
        epochs: float | None = None,
        minutes: float | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        long: str | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
        layer_decay: float | None = None,
        pooling: str | None = None,
        precision: str | None = None,
        patience: int | None = None,
        seed: int = 0,
        device: str | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        compare: bool = False,
        blend: bool = True,
        adapt: bool = False,
        unlabelled: Sequence[str | Path] = (),
        tune: int | str | None = None,
        ensemble: int = 1,
        abstain: float | None = None,
    ) -> None:
        self.base = base
        self.epochs = epochs
        self.minutes = minutes
        self.batch_size = batch_size
        self.max_length = max_length
        self.long = long
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.layer_decay = layer_decay
        self.pooling = pooling
        self.precision = precision
        self.patience = patience
        self.seed = seed
        self.device = device
        self.out = out
        self.overwrite = overwrite
        self.compare = compare
        self.blend = blend
        self.adapt = adapt
        self.unlabelled = unlabelled
        self.tune = tune
        self.ensemble = ensemble
        self.abstain = abstain

    def _fit(self, data: Dataset, name: str, source: str) -> None:
        options = {f.name: getattr(self, f.name) for f in fields(TrainConfig) if hasattr(self, f.name)}
        config = TrainConfig().with_options(**options)
        if self.out is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="filbert-")
        self.fitted_: Fitted = fit(
            data,
            Path(self._scratch.name) / "run" if self.out is None else Path(self.out),
            name=name,
            source=source,
            base=self.base,
            config=config,
            device=self.device,
            overwrite=self.overwrite,
            compare=self.compare,
            adapt=self.adapt,
            unlabelled=tuple(self.unlabelled),
            blend=self.blend,
            cascade=getattr(self, "cascade", None),
            abstain=self.abstain,
        )
        self.engine_: Engine = load(self.fitted_.folder, device=self.device)
        self.report_: dict[str, Any] = self.fitted_.report

    def _answers(self, X: Any) -> list[Prediction]:
        """Answer every text; of one without a visible character it is said: scikit-learn wants a row for each."""
        check_is_fitted(self)
        inputs = inputs_of(X)
        empty = [row for row, texts in enumerate(inputs) if not all(map(visible, texts))]
        if empty:
            listed = ", ".join(map(str, empty[:LISTED])) + ", …" * (len(empty) > LISTED)
            wrong = f"{counted(len(empty), 'text')} without a visible character, in rows {listed}"
            warnings.warn(f"X has {wrong} — what is answered there says nothing — leave them out", stacklevel=3)
        return self.engine_.answer(self.engine_.encode(inputs))

    def explain(self, text: str | Sequence[str], **options: Any) -> Explanation:
        """Return why a text, or a pair, gets its answer; options as those of `Engine.explain`.

        >>> model.explain("Not a dull minute.").top(3)  # doctest: +SKIP
        """
        check_is_fitted(self)
        return self.engine_.explain(text, **options)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: the parameters, and of a fitted one the files of its run folder as bytes."""
        state = dict(super().__getstate__())
        if "engine_" in state:
            for name in ("engine_", "_scratch"):
                state.pop(name, None)
            folder = self.fitted_.folder
            state["_files"] = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state over; the run folder of a fitted copy is a temporary one of its own."""
        kept = dict(state)
        files: dict[str, bytes] | None = kept.pop("_files", None)
        super().__setstate__(kept)
        if files is None:
            return
        self._scratch = tempfile.TemporaryDirectory(prefix="filbert-")
        folder = Path(self._scratch.name) / "run"
        folder.mkdir()
        for name, content in files.items():
            (folder / Path(name).name).write_bytes(content)
        self.fitted_ = replace(self.fitted_, folder=folder)
        self.engine_ = load(folder, device=self.device)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, True
        tags.input_tags.one_d_array = True
        return tags


def dataset_at(X: Any, seed: int, task: str | None = None) -> Dataset:
    """Read what a path holds; ConfigError where it is none."""
    if not isinstance(X, (str, Path)):
        raise ConfigError("y is missing — give a target for each text, or a path as X")
    return read_dataset(X, seed=seed, task=task)


def source_of(X: Any, y: Any) -> tuple[str, str]:
    """Return name and source of a run, as its report has them."""
    return (Path(X).stem, str(X)) if y is None else ("texts", "memory")


def check_lengths(inputs: Inputs, values: Sequence[Any]) -> None:
    """Raise ConfigError unless there is a target for each text."""
    if len(values) != len(inputs):
        raise ConfigError(
            f"X has {counted(len(inputs), 'text')}, y has {counted(len(values), 'target')} — give one for each text"
        )


def missing(value: Any) -> bool:
    """Tell whether a value is None, NaN, or pandas' NA or NaT, whose comparisons are no truth values.

    >>> missing(float("nan")), missing("")
    (True, False)
    """
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def inputs_of(X: Any) -> Inputs:
    """Turn texts, or pairs of texts, into tuples; DataError names the first rows that are neither.

    A list, array or Series of strings is one text each; a list of pairs, or a table of two columns, two.

    >>> inputs_of(["a", "b"]), inputs_of([("a", "b")])
    ([('a',), ('b',)], [('a', 'b')])
    """
    if isinstance(X, (str, Path)):
        raise ConfigError(f"X is one string {shown(str(X))} — give a list of texts: [{shown(str(X), 30)}]")
    rows: list[Any] = list(X)
    if isinstance(X, np.ndarray) or hasattr(X, "to_numpy"):
        table = np.asarray(X)
        if table.ndim > 2 or (table.ndim == 2 and table.shape[1] not in (1, 2)):
            raise ConfigError(f"X has shape {table.shape} — give one column of texts, or two of pairs")
        rows = table.tolist()
    found = [(row,) if isinstance(row, str) or not isinstance(row, Iterable) else tuple(row) for row in rows]
    wrong = [
        Problem(Place("X", i), "text", f"is {shown(rows[i])}, a {type(rows[i]).__name__}", "give a string, or two")
        for i, each in enumerate(found)
        if len(each) not in (1, 2) or not all(isinstance(text, str) for text in each)
    ]
    if wrong:
        raise DataError(wrong)
    if len({len(each) for each in found}) > 1:
        raise ConfigError("X holds single texts and pairs — give one kind")
    return found
