"""`TextClassifier` and `TextRegressor`: labels or numbers for texts, or for pairs of texts, as scikit-learn estimators.

Shapes: N texts, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score
from typing_extensions import Self

from filbert import tasks
from filbert.errors import ConfigError, DataError, Place, Problem, shown
from filbert.estimator.base import TextEstimator, check_lengths, dataset_at, inputs_of, missing, source_of
from filbert.finetuning.dataset import dataset_of
from filbert.records import FloatArray, Prediction


class TextClassifier(ClassifierMixin, TextEstimator):  # type: ignore[misc]
    """Fine-tunes BERT to label texts, or pairs of texts; a true scikit-learn classifier.

    `y` holds a label for each text; or a list or set of labels, or a row of 0 and 1, where a text may have several:
    `predict` then gives a row of 0 and 1 in the order of `classes_`. Parameters are those of `filbert fit` (see
    TrainConfig for the training ones); None takes the default. `out` is the run folder to write (model, report, log);
    without it the run lives in a temporary folder as long as the estimator does. `compare=True` fits the linear
    baseline beside the model, as the command does; `blend=True` adds it to BERT where that helps. `adapt=True` lets the
    base read the training texts first. `cascade=0.5` makes a cascade: a linear model answers what it is sure of, at a
    cost of at most half a point of accuracy. `adapt` and `cascade` also read the files of `unlabelled`. `balance` is
    for uneven classes, `long` for texts beyond `max_length` tokens: "head-tail", "head", "windows" or "auto".
    `abstain=0.02` leaves texts unanswered, so that at most two in a hundred answers are wrong: `predict` gives None for
    them, and where a text may have several labels a row of -1; `score` is that of all texts, as if each were answered.
    `tune=20` or `tune="30min"` searches for the options that are not given; `ensemble=3` averages three trainings.

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
        long: str | None = None,
        learning_rate: float | None = None,
        optimizer: str | None = None,
        layer_decay: float | None = None,
        pooling: str | None = None,
        balance: str | None = None,
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
        few_shot: bool | None = None,
        cascade: float | None = None,
    ) -> None:
        super().__init__(
            base,
            epochs=epochs,
            minutes=minutes,
            batch_size=batch_size,
            max_length=max_length,
            long=long,
            learning_rate=learning_rate,
            optimizer=optimizer,
            layer_decay=layer_decay,
            pooling=pooling,
            precision=precision,
            patience=patience,
            seed=seed,
            device=device,
            out=out,
            overwrite=overwrite,
            compare=compare,
            blend=blend,
            adapt=adapt,
            unlabelled=unlabelled,
            tune=tune,
            ensemble=ensemble,
            abstain=abstain,
        )
        self.balance = balance
        self.few_shot = few_shot
        self.cascade = cascade

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on texts and labels, or, with `y` None, on what a path holds.

        A tenth of the texts (at most 1,000) is held out to choose the best step. Raises DataError, ConfigError,
        ModelError, TrainingError.
        """
        if y is None:
            data = dataset_at(X, self.seed)
            found = np.array(sorted(data.settings.labels))
        else:
            inputs, (values, classes) = inputs_of(X), _labels_of(y)
            check_lengths(inputs, values)
            data = dataset_of(inputs, values, tasks.of_values(values), seed=self.seed)
            found = np.array(data.settings.labels) if classes is None else classes
        self._fit(data, *source_of(X, y))
        order = {label: i for i, label in enumerate(self.engine_.settings.labels)}
        # classes_ sorted as numpy sorts them, each with its column among the model's outputs
        self._columns = np.array([order[str(label)] for label in found])
        self._several = self.engine_.task is not tasks.of_values([""])
        self.classes_ = found
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each class (N × C), columns in the order of `classes_`."""
        return self._probabilities(self._answers(X))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each text; where a text may have several, a row of 0 and 1 (N × C).

        With `abstain` None stands for a text that gets no answer, or a row of -1.
        """
        answers = self._answers(X)
        found = self._given(answers)
        if self.abstain:
            unsure_N = np.array([each.abstained for each in answers], dtype=bool)
            found = found if self._several else found.astype(object)
            found[unsure_N] = -1 if self._several else None
        return found

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy over all texts; with `abstain`, too, each counts by its most probable class."""
        return float(accuracy_score(y, self._given(self._answers(X)), sample_weight=sample_weight))

    def _probabilities(self, answers: Sequence[Prediction]) -> FloatArray:
        rows = [found.probabilities for found in answers]  # type: ignore[attr-defined]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.classes_))[:, self._columns]

    def _given(self, answers: Sequence[Prediction]) -> npt.NDArray[Any]:
        """Return the classes of all texts, also of those that are left unanswered."""
        if not self._several:
            return np.asarray(self.classes_[self._probabilities(answers).argmax(axis=1)])
        number = {str(label): i for i, label in enumerate(self.classes_)}
        given_NC = np.zeros((len(answers), len(number)), dtype=np.int64)
        for row_C, found in zip(given_NC, answers, strict=True):
            row_C[[number[label] for label in found.labels]] = 1  # type: ignore[attr-defined]
        return given_NC


class TextRegressor(RegressorMixin, TextEstimator):  # type: ignore[misc]
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
            data = dataset_at(X, self.seed, task.NAME)
        else:
            inputs, values = inputs_of(X), np.asarray(y).tolist()
            check_lengths(inputs, values)
            data = dataset_of(inputs, values, task, seed=self.seed)
        self._fit(data, *source_of(X, y))
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the number of each text, in the unit of `y`."""
        return np.array([found.score for found in self._answers(X)], dtype=np.float64)  # type: ignore[attr-defined]


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
    absent = [i for i, value in enumerate(values) if missing(value)]
    if absent:
        raise DataError(
            [Problem(Place("y", i), "label", f"is {shown(values[i])}", "give each text a label") for i in absent]
        )
    labels = np.asarray(values)
    if labels.ndim != 1:
        raise ConfigError(f"y has shape {labels.shape} — give one label for each text, or lists of labels")
    found = np.unique(labels)
    if len({str(label) for label in found}) < len(found):
        raise ConfigError(f"two labels in {shown(list(found))} read the same as text — rename one")
    return [str(label) for label in labels], found
