"""`QuestionAnswerer`: answers out of texts, with the parameters and the manners of the other estimators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.utils.validation import check_is_fitted
from typing_extensions import Self

from filbert import tasks
from filbert.errors import ConfigError, counted, shown
from filbert.estimator.base import TextEstimator, dataset_at, inputs_of, source_of
from filbert.finetuning.dataset import dataset_of
from filbert.inference.search import Answers, Index
from filbert.inference.search import ask as ask_index
from filbert.readers.passages import read_passages
from filbert.records import Prediction


class QuestionAnswerer(TextEstimator):
    """Fine-tunes BERT to answer questions out of texts.

    Parameters are `TextClassifier`'s, without those that need classes. An answer is a string, `(string, start)`, an
    object as SQuAD has it (text and answer_start), a list of these, of which training takes the first, or None.
    With `abstain` a prediction that is too unsure has `abstained`.

    >>> model = QuestionAnswerer(base="minilm").fit("squad.json")                    # doctest: +SKIP
    >>> model.answer("Who won?", "The Navy won in 1921.").answer                     # doctest: +SKIP
    'The Navy'
    """

    def fit(self, X: Any, contexts: Sequence[str] | None = None, answers: Sequence[Any] | None = None) -> Self:
        """Train on questions, the texts that answer them and the answers, or on what a path holds.

        Raises DataError, ConfigError, ModelError, TrainingError.
        """
        task = tasks.of_answers()
        if contexts is None or answers is None:
            if contexts is not None or answers is not None:
                raise ConfigError("contexts and answers go together — give both, or a path alone")
            data = dataset_at(X, self.seed, task.NAME)
        else:
            if isinstance(X, (str, Path)):
                raise ConfigError(f"the questions are one string {shown(str(X))} — give a list of them")
            questions, contexts, answers = list(X), list(contexts), list(answers)
            if not len(questions) == len(contexts) == len(answers):
                given = zip((questions, contexts, answers), ("question", "context", "answer"), strict=True)
                found = ", ".join(counted(len(each), name) for each, name in given)
                raise ConfigError(f"got {found} — give one of each for every question")
            pairs = inputs_of(list(zip(questions, contexts, strict=True)))
            data = dataset_of(pairs, answers, task, seed=self.seed)
        self._fit(data, *source_of(X, answers))
        return self

    def predict(self, X: Any) -> list[Prediction]:
        """Answer pairs of a question and a text."""
        return self._answers(X)

    def answer(self, question: str, context: str) -> Any:
        """Answer one question: the prediction has answer, start, end, confidence, no_answer and alternatives."""
        check_is_fitted(self)
        return self.engine_.predict([(question, context)])[0]

    def ask(self, question: str, path: str | Path, *, passages: int = 10) -> Answers:
        """Answer a question out of a file or a folder of texts, as `filbert ask` does."""
        check_is_fitted(self)
        return ask_index(self.engine_, question, Index(read_passages(Path(path))[0]), passages)
