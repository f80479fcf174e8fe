"""The whole of Filbert as scikit-learn estimators: `TextClassifier`, `TextRegressor`, `QuestionAnswerer`,
`Summarizer`.

Thin shells over `fit` and `Engine`: they turn lists, arrays, tables or a path into examples and keep scikit-learn's
contracts (parameters stored as given, `clone`, `classes_` in the caller's own type). Nothing is trained or scored here.
"""

from filbert.estimator.base import inputs_of as inputs_of
from filbert.estimator.questions import QuestionAnswerer as QuestionAnswerer
from filbert.estimator.summaries import Summarizer as Summarizer
from filbert.estimator.texts import TextClassifier as TextClassifier
from filbert.estimator.texts import TextRegressor as TextRegressor
