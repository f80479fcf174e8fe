"""`TextClassifier`: the whole of Filbert as a scikit-learn estimator.

A thin shell over `fit` and `Engine`: it turns lists, arrays, Series or a path into examples and keeps scikit-learn's
contracts (parameters stored as given, `clone`, `classes_` in the caller's own type). Nothing is trained or scored here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from typing_extensions import Self

from filbert.config import TrainConfig
from filbert.data.splits import Splits, load_splits, make_splits
from filbert.errors import ConfigError, DataError, Place, Problem, shown
from filbert.finetuning.fit import Fitted, fit
from filbert.inference.engine import Engine, load
from filbert.records import Example, FloatArray
from filbert.text.visible import visible


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fine-tunes BERT to label texts; a true scikit-learn classifier.

    Parameters are those of `filbert fit` (see TrainConfig for the training ones); None takes the default. `out` is the
    run folder to write (model, report, log); without it the run lives in a temporary folder as long as the
    estimator does.
    `compare=True` fits the linear baseline beside the model, as the command does. `adapt=True` lets the base read the
    training texts first. `cascade=0.5` puts a linear model in front that may cost half a point of accuracy. Either
    reads the files of `unlabelled`, too.

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
        self.cascade = cascade

    def fit(self, X: Iterable[str] | str | Path, y: Iterable[Any] | None = None) -> Self:
        """Train on texts and labels, or, with `y` None, on what a path holds.

        A tenth of the texts (at most 1,000) is held out to choose the best step. Raises DataError, ConfigError,
        ModelError, TrainingError.
        """
        splits = self._splits(X, y)
        told = {f.name: getattr(self, f.name) for f in fields(TrainConfig) if hasattr(self, f.name)}
        config = TrainConfig().with_options(**told)
        if self.out is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="filbert-")
        self.fitted_: Fitted = fit(
            splits,
            Path(self._scratch.name) / "run" if self.out is None else Path(self.out),
            name=Path(X).stem if y is None else "texts",  # type: ignore[arg-type]
            source=str(X) if y is None else "memory",
            base=self.base,
            config=config,
            device=self.device,
            overwrite=self.overwrite,
            compare=self.compare,
            adapt=self.adapt,
            unlabelled=tuple(self.unlabelled),
            cascade=self.cascade,
        )
        self.engine_: Engine = load(self.fitted_.folder, device=self.device)
        self.report_: dict[str, Any] = self.fitted_.report
        order = {label: i for i, label in enumerate(self.engine_.labels)}
        # classes_ sorted as numpy sorts them, each with its column among the model's outputs
        self._columns = np.array([order[str(label)] for label in self._found])
        self.classes_ = self._found
        return self

    def _splits(self, X: Iterable[str] | str | Path, y: Iterable[Any] | None) -> Splits:
        if y is None:
            if not isinstance(X, (str, Path)):
                raise ConfigError("y is missing — give a label for each text, or a path as X")
            splits = load_splits(X, seed=self.seed)
            self._found = np.array(sorted(splits.labels))
            return splits
        texts, labels = texts_of(X), np.asarray(list(y))
        if labels.ndim != 1 or len(labels) != len(texts):
            raise ConfigError(f"X has {len(texts)} texts, y has shape {labels.shape} — give one label for each text")
        missing = [i for i, label in enumerate(labels) if label is None or label != label]
        wrong = [Problem(Place("y", i), "label", f"is {shown(labels[i])}", "give each text a label") for i in missing]
        wrong += [Problem(Place("X", i), "text", "is empty", "drop it") for i, t in enumerate(texts) if not visible(t)]
        if wrong:
            raise DataError(wrong)
        self._found = np.unique(labels)
        if len({str(label) for label in self._found}) < len(self._found):
            raise ConfigError(f"two labels in {shown(list(self._found))} read the same as text — rename one")
        rows = zip(texts, labels, strict=True)
        return make_splits([Example(t, str(label), Place("X", i)) for i, (t, label) in enumerate(rows)], self.seed)

    def predict_proba(self, X: Iterable[str]) -> FloatArray:
        """Return the probability of each class, columns in the order of `classes_`."""
        check_is_fitted(self)
        probabilities_NC: FloatArray = self.engine_.predict_proba(texts_of(X))[:, self._columns]
        return probabilities_NC

    def predict(self, X: Iterable[str]) -> npt.NDArray[Any]:
        """Return the most probable class of each text: always the argmax of `predict_proba`."""
        check_is_fitted(self)
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string, tags.input_tags.two_d_array = True, False
        tags.input_tags.one_d_array = True
        return tags


def texts_of(X: Iterable[str] | Path) -> list[str]:
    """Turn a list, array, Series or one-column table into a list of strings; DataError names the first that is none."""
    if isinstance(X, (str, Path)):
        raise ConfigError(f"X is one string {shown(str(X))} — give a list of texts: [{shown(str(X), 30)}]")
    values: list[Any] = list(X)
    if isinstance(X, np.ndarray) or hasattr(X, "to_numpy"):
        table = np.asarray(X)
        if table.ndim > 1 and table.shape[1] != 1:
            raise ConfigError(f"X has shape {table.shape} — give one column of texts")
        values = table.reshape(-1).tolist()
    wrong = [
        Problem(Place("X", i), "text", f"is {shown(value)}, a {type(value).__name__}", "give a string")
        for i, value in enumerate(values)
        if not isinstance(value, str)
    ]
    if wrong:
        raise DataError(wrong)
    return values
