"""`TextClassifier` and `TextRegressor`: the whole of Filbert as scikit-learn estimators.

Thin shells over `fit` and `Engine`: they turn lists, arrays, tables or a path into examples and keep scikit-learn's
contracts (parameters stored as given, `clone`, `classes_` in the caller's own type). Nothing is trained or scored here.

Shapes: N texts, C classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from typing_extensions import Self

from filbert import tasks
from filbert.config import TrainConfig
from filbert.errors import ConfigError, DataError, Place, Problem, shown
from filbert.finetuning.dataset import Dataset, dataset_of, read_dataset
from filbert.finetuning.fit import Fitted, fit
from filbert.inference.engine import Engine, load
from filbert.records import FloatArray, Prediction

Inputs = list[tuple[str, ...]]


class _TextEstimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators have: the parameters of a fit, and the way to it."""

    def __init__(
        self,
        base: str | None = None,
        *,
        epochs: float | None = None,
        minutes: float | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
        layer_decay: float | None = None,
        precision: str | None = None,
        patience: int | None = None,
        seed: int = 0,
        device: str | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        compare: bool = False,
        adapt: bool = False,
        unlabelled: Sequence[str | Path] = (),
    ) -> None:
        self.base = base
        self.epochs = epochs
        self.minutes = minutes
        self.batch_size = batch_size
        self.max_length = max_length
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.layer_decay = layer_decay
        self.precision = precision
        self.patience = patience
        self.seed = seed
        self.device = device
        self.out = out
        self.overwrite = overwrite
        self.compare = compare
        self.adapt = adapt
        self.unlabelled = unlabelled

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
            cascade=getattr(self, "cascade", None),
        )
        self.engine_: Engine = load(self.fitted_.folder, device=self.device)
        self.report_: dict[str, Any] = self.fitted_.report

    def _answers(self, X: Any) -> list[Prediction]:
        """Answer every text, also one without a visible character: scikit-learn wants a row for each."""
        check_is_fitted(self)
        return self.engine_.answer(self.engine_.encode(inputs_of(X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, True
        tags.input_tags.one_d_array = True
        return tags


class TextClassifier(ClassifierMixin, _TextEstimator):  # type: ignore[misc]
    """Fine-tunes BERT to label texts, or pairs of texts; a true scikit-learn classifier.

    `y` holds a label for each text; or a list or set of labels, or a row of 0 and 1, where a text may have several:
    `predict` then gives a row of 0 and 1 in the order of `classes_`. Parameters are those of `filbert fit` (see
    TrainConfig for the training ones); None takes the default. `out` is the run folder to write (model, report, log);
    without it the run lives in a temporary folder as long as the estimator does. `compare=True` fits the linear
    baseline beside the model, as the command does. `adapt=True` lets the base read the training texts first.
    `cascade=0.5` puts a linear model in front that may cost half a point of accuracy. Either reads the files of
    `unlabelled`, too. `balance` is for uneven classes.

    >>> model = TextClassifier(base="minilm", epochs=2, seed=1)         # doctest: +SKIP
    >>> model.fit(["a joy", "a bore"] * 20, ["pos", "neg"] * 20)        # doctest: +SKIP
    >>> model.predict(["what a joy"])                                   # doctest: +SKIP
    array(['pos'], dtype='<U3')
    """

    def __init__(
        self,
        base: str | None = None,
        *,
        epochs: float | None = None,
        minutes: float | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
        layer_decay: float | None = None,
        balance: str | None = None,
        precision: str | None = None,
        patience: int | None = None,
        seed: int = 0,
        device: str | None = None,
        out: str | Path | None = None,
        overwrite: bool = False,
        compare: bool = False,
        adapt: bool = False,
        unlabelled: Sequence[str | Path] = (),
        cascade: float | None = None,
    ) -> None:
        super().__init__(
            base,
            epochs=epochs,
            minutes=minutes,
            batch_size=batch_size,
            max_length=max_length,
            learning_rate=learning_rate,
            optimizer=optimizer,
            layer_decay=layer_decay,
            precision=precision,
            patience=patience,
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            compare=compare,
            adapt=adapt,
            unlabelled=unlabelled,
        )
        self.balance = balance
        self.cascade = cascade

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on texts and labels, or, with `y` None, on what a path holds.

        A tenth of the texts (at most 1,000) is held out to choose the best step. Raises DataError, ConfigError,
        ModelError, TrainingError.
        """
        if y is None:
            data = _read(X, self.seed)
            found = np.array(sorted(data.settings.labels))
        else:
            inputs, (values, classes) = inputs_of(X), _labels_of(y)
            _check_lengths(inputs, values, y)
            data = dataset_of(inputs, values, tasks.of_values(values), seed=self.seed)
            found = np.array(data.settings.labels) if classes is None else classes
        self._fit(data, *_source(X, y))
        order = {label: i for i, label in enumerate(self.engine_.settings.labels)}
        # classes_ sorted as numpy sorts them, each with its column among the model's outputs
        self._columns = np.array([order[str(label)] for label in found])
        self._several = self.engine_.task is not tasks.of_values([""])
        self.classes_ = found
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each class (N × C), columns in the order of `classes_`."""
        rows = [found.probabilities for found in self._answers(X)]  # type: ignore[attr-defined]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.classes_))[:, self._columns]

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each text; where a text may have several, a row of 0 and 1 (N × C)."""
        check_is_fitted(self)
        if not self._several:
            return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
        answers = self._answers(X)
        number = {str(label): i for i, label in enumerate(self.classes_)}
        given_NC = np.zeros((len(answers), len(number)), dtype=np.int64)
        for row_C, found in zip(given_NC, answers, strict=True):
            row_C[[number[label] for label in found.labels]] = 1  # type: ignore[attr-defined]
        return given_NC


class TextRegressor(RegressorMixin, _TextEstimator):  # type: ignore[misc]
    """Fine-tunes BERT to give a number for a text, or for a pair of texts; a true scikit-learn regressor.

    Parameters are `TextClassifier`'s, without those that need classes.

    >>> model = TextRegressor(base="minilm", epochs=2)                            # doctest: +SKIP
    >>> model.fit([("a cat", "a kitten"), ("a cat", "a car")] * 20, [4.5, 1.0] * 20)  # doctest: +SKIP
    >>> model.predict([("a dog", "a puppy")]).round(1)                            # doctest: +SKIP
    array([4.4])
    """

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on texts and numbers, or, with `y` None, on what a path holds. Raises as `TextClassifier.fit`."""
        task = tasks.of_values((), numbers=True)
        if y is None:
            data = _read(X, self.seed, task.NAME)
        else:
            inputs, values = inputs_of(X), np.asarray(y).tolist()
            _check_lengths(inputs, values, y)
            data = dataset_of(inputs, values, task, seed=self.seed)
        self._fit(data, *_source(X, y))
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the number of each text, in the unit of `y`."""
        return np.array([found.score for found in self._answers(X)], dtype=np.float64)  # type: ignore[attr-defined]


def _read(X: Any, seed: int, task: str | None = None) -> Dataset:
    if not isinstance(X, (str, Path)):
        raise ConfigError("y is missing — give a target for each text, or a path as X")
    return read_dataset(X, seed=seed, task=task)


def _source(X: Any, y: Any) -> tuple[str, str]:
    return (Path(X).stem, str(X)) if y is None else ("texts", "memory")


def _check_lengths(inputs: Inputs, values: Sequence[Any], y: Any) -> None:
    if len(values) != len(inputs):
        raise ConfigError(f"X has {len(inputs)} texts, y has {len(values)} targets — give one for each text")


def _labels_of(y: Any) -> tuple[list[Any], npt.NDArray[Any] | None]:
    """Return the targets as lists of labels or as labels, and the classes in the caller's type where they have one."""
    table = np.asarray(y) if isinstance(y, np.ndarray) or hasattr(y, "to_numpy") else None
    if table is not None and table.ndim == 2 and table.shape[1] > 1:
        if not np.isin(table, (0, 1)).all():
            raise ConfigError(
                f"y has shape {table.shape} and holds other values than 0 and 1 — give one column a label"
            )
        names = [str(name) for name in getattr(y, "columns", range(table.shape[1]))]
        return [[names[i] for i in np.flatnonzero(row)] for row in table], None
    values = list(y) if table is None or table.ndim != 2 else table[:, 0].tolist()
    if tasks.of_values(values) is not tasks.of_values([""]):
        return values, None
    missing = [
        i for i, value in enumerate(values) if value is None or value != value or type(value).__name__ == "NAType"
    ]
    if missing:
        raise DataError(
            [Problem(Place("y", i), "label", f"is {shown(values[i])}", "give each text a label") for i in missing]
        )
    labels = np.asarray(values)
    if labels.ndim != 1:
        raise ConfigError(f"y has shape {labels.shape} — give one label for each text, or lists of labels")
    found = np.unique(labels)
    if len({str(label) for label in found}) < len(found):
        raise ConfigError(f"two labels in {shown(list(found))} read the same as text — rename one")
    return [str(label) for label in labels], found


def _missing(value: Any) -> bool:
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
