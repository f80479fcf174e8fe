"""The estimator keeps scikit-learn's contracts: parameters as given, clone, grid search, pipelines, label types."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import NotFittedError

from filbert import TextClassifier, TextRegressor, load
from filbert.errors import ConfigError, DataError

THINGS = ["film", "book", "soup", "room", "song", "phone", "walk", "shop", "play", "coat", "game", "train", "bread"]
TEXTS = [f"a {word} {thing}" for thing in THINGS for word in ("lovely", "awful")]
LABELS = ["pos", "neg"] * len(THINGS)
QUICK = {"base": "tiny", "epochs": 1, "precision": "fp32", "max_length": 16}


@pytest.fixture(scope="module")
def fitted():
    return TextClassifier(**QUICK).fit(TEXTS, LABELS)


def test_parameters_are_kept_and_cloned():
    model = TextClassifier(base="minilm", epochs=2, seed=7)
    assert is_classifier(model)
    assert clone(model).get_params() == model.get_params()
    assert model.get_params()["epochs"] == 2


def test_predict_is_the_argmax_of_predict_proba(fitted):
    chances_NC = fitted.predict_proba(TEXTS)
    assert chances_NC.shape == (len(TEXTS), 2)
    np.testing.assert_allclose(chances_NC.sum(axis=1), 1)
    assert (fitted.predict(TEXTS) == fitted.classes_[chances_NC.argmax(axis=1)]).all()
    assert 0 <= fitted.score(TEXTS, LABELS) <= 1


def test_it_learns_what_can_be_learned():
    options = {**QUICK, "epochs": 12, "learning_rate": 1e-3, "batch_size": 4}
    assert TextClassifier(**options).fit(TEXTS, LABELS).score(TEXTS, LABELS) == 1.0


def test_lists_arrays_and_series_are_one(fitted):
    pandas = pytest.importorskip("pandas")
    expected = fitted.predict_proba(TEXTS)
    for same in (np.array(TEXTS), np.array(TEXTS, dtype=object), pandas.Series(TEXTS), tuple(TEXTS)):
        np.testing.assert_array_equal(fitted.predict_proba(same), expected)


@pytest.mark.parametrize("y", [[1, 0], [10, 9], [True, False], ["1", "0"], [2.5, 1.5]])
def test_labels_keep_their_type_and_order(y):
    model = TextClassifier(**QUICK).fit(TEXTS, [y[0] if label == "pos" else y[1] for label in LABELS])
    assert model.classes_.tolist() == sorted(y)
    assert model.predict(TEXTS).dtype == np.asarray(y).dtype
    chances_NC = model.predict_proba(TEXTS)
    named = [model.engine_.settings.labels.index(str(label)) for label in model.classes_]
    alone_NC = np.array([found.probabilities for found in model.engine_.predict(TEXTS)])
    np.testing.assert_array_equal(chances_NC, alone_NC[:, named])


def test_rows_of_0_and_1_are_several_labels_a_text():
    flags_NC = np.array([[label == "pos", i % 3 == 0] for i, label in enumerate(LABELS)]).astype(int)
    model = TextClassifier(**QUICK).fit(TEXTS, flags_NC)
    assert model.classes_.tolist() == ["0", "1"]
    assert model.predict(TEXTS).shape == model.predict_proba(TEXTS).shape == flags_NC.shape
    assert set(np.unique(model.predict(TEXTS))) <= {0, 1}


def test_pairs_and_numbers():
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    model = TextRegressor(**QUICK).fit(pairs, [2.5 * i for i in range(len(pairs))])
    assert is_regressor(model)
    assert model.predict(pairs).shape == (len(pairs),)
    with pytest.raises(ConfigError, match="a pair of texts"):
        model.engine_.predict(TEXTS)
    with pytest.raises(DataError, match=r"y:1 score — is nan"):
        TextRegressor(**QUICK).fit(TEXTS[:3], [1.0, float("nan"), 2.0])


def test_grid_search_and_pipeline():
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipe = make_pipeline(lower, TextClassifier(**QUICK))
    search = GridSearchCV(pipe, {"textclassifier__batch_size": [8, 16]}, cv=2).fit(TEXTS, LABELS)
    assert set(search.predict(TEXTS)) <= {"pos", "neg"}


def test_a_path_is_read_and_the_run_folder_stays(tmp_path):
    file = tmp_path / "reviews.csv"
    file.write_text("text,label\n" + "".join(f'"{t}",{y}\n' for t, y in zip(TEXTS, LABELS, strict=True)))
    model = TextClassifier(**QUICK, out=tmp_path / "run").fit(file)
    assert model.classes_.tolist() == ["neg", "pos"]
    predictions = load(tmp_path / "run").predict(TEXTS)
    assert [p.label for p in predictions] == model.predict(TEXTS).tolist()


def test_same_seed_same_model():
    first, second = (TextClassifier(**QUICK, seed=3).fit(TEXTS, LABELS).predict_proba(TEXTS) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_refusals(fitted):
    with pytest.raises(NotFittedError):
        TextClassifier().predict(TEXTS)
    with pytest.raises(ConfigError, match="one for each text"):
        TextClassifier(**QUICK).fit(TEXTS, LABELS[:-1])
    with pytest.raises(ConfigError, match="one string"):
        fitted.predict("a joy")
    with pytest.raises(DataError, match="X:1 text"):
        fitted.predict(["a joy", None])
    with pytest.raises(ConfigError, match="epochs"):
        TextClassifier(base="tiny", epochs=-1).fit(TEXTS, LABELS)


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, pd.NaT])
@pytest.mark.parametrize("holder", [list, lambda values: pd.Series(values, dtype=object)])
def test_a_missing_label_is_no_class(nothing, holder):
    with pytest.raises(DataError, match=r"y:2 label — is .* — give each text a label"):
        TextClassifier(**QUICK).fit(TEXTS[:4], holder(["a", "b", nothing, "a"]))


def test_a_missing_label_of_pandas_own_kind_is_no_class():
    with pytest.raises(DataError, match="y:1 label"):
        TextClassifier(**QUICK).fit(TEXTS[:3], pd.Series([1, None, 2], dtype="Int64"))


def test_a_copy_answers_alike_when_the_original_is_gone():
    model = TextClassifier(**QUICK).fit(TEXTS, LABELS)
    expected, folder = model.predict_proba(TEXTS), model.fitted_.folder
    again = copy.deepcopy(model)
    assert again.get_params() == model.get_params()
    del model
    assert not folder.exists()
    np.testing.assert_array_equal(again.predict_proba(TEXTS), expected)
    assert load(again.fitted_.folder).settings == again.engine_.settings
    with pytest.raises(NotFittedError):
        copy.deepcopy(TextRegressor(base="tiny")).predict(TEXTS)


@pytest.mark.slow
def test_cross_validation_in_processes_returns_its_estimators():
    found = cross_validate(TextClassifier(**QUICK), TEXTS, LABELS, cv=2, n_jobs=2, return_estimator=True)
    assert len(found["test_score"]) == 2
    for each in found["estimator"]:
        assert each.predict(TEXTS).shape == (len(TEXTS),)


def test_unsure_texts_get_no_answer_with_abstain():
    texts, labels = TEXTS * 8, LABELS * 8
    options = {**QUICK, "epochs": 12, "learning_rate": 1e-3, "batch_size": 16, "abstain": 0.4}
    model = TextClassifier(**options).fit(texts, labels)
    assert clone(model).get_params()["abstain"] == 0.4
    model.engine_.least_confidence = np.median(model.predict_proba(TEXTS).max(axis=1))
    given, sure = model.predict(TEXTS), model.predict_proba(TEXTS).max(axis=1) >= model.engine_.least_confidence
    assert [answer is None for answer in given] == (~sure).tolist()
    assert set(given[sure]) <= {"neg", "pos"}
    assert model.score(TEXTS, LABELS) == (model.classes_[model.predict_proba(TEXTS).argmax(axis=1)] == LABELS).mean()
    with pytest.raises(ConfigError, match="near or far"):
        TextRegressor(**QUICK, abstain=0.1).fit(TEXTS, [float(len(text)) for text in TEXTS])


def test_texts_without_a_visible_character_are_warned_about(fitted):
    with pytest.warns(UserWarning, match="2 texts without a visible character, in rows 1, 2"):
        found = fitted.predict(["a good film", "", " \u200b"])
    assert len(found) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.predict(["a good film"])
