"""The linear model in front: what it reads, the promise it is held to, and how a folder with one answers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from filbert.metrics.calibration import softmax
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from filbert.config import TrainConfig
from filbert.data.splits import make_splits
from filbert.errors import ConfigError, ModelError
from filbert.finetuning.cascade import pseudo_labelled, put_in_front, quick_engine, texts_of
from filbert.finetuning.fit import fit
from filbert.folder.save import load_model, save_model
from filbert.inference.engine import load
from filbert.linear.cascade import Cascade, fit_front
from filbert.linear.model import BUCKETS, Linear, count_pieces, fit_linear
from filbert.linear.risk import NEVER, choose, upper_bound
from filbert.progress import Silent
from filbert.records import Example
from filbert.report.words import cascade_line

GOOD, BAD = ("good", "fine", "warm"), ("bad", "poor", "cold")


def pieces(*texts):
    return [np.array(text, dtype=np.int32) for text in texts]


def matrix(counts):
    from scipy.sparse import csr_matrix

    return csr_matrix((counts.counts_K, counts.buckets_K, counts.starts), shape=(len(counts), BUCKETS))


# -- features ---------------------------------------------------------------------------------------------------------


def test_runs_of_one_to_three_pieces_are_counted():
    counts = count_pieces(pieces([5, 6, 7, 5, 6], [], [5]))
    assert counts.starts.tolist() == [0, 9, 9, 10]  # 5 6 7, 56 67 75, 567 675 756 … of which 5, 6 and 56 twice
    assert sorted(counts.counts_K[:9].tolist()) == [1, 1, 1, 1, 1, 1, 2, 2, 2]
    assert counts.buckets_K[9] in counts.buckets_K[:9]


def test_no_run_goes_from_one_text_into_the_next():
    alone = [count_pieces(pieces(text)) for text in ([1, 2], [3], [4, 5, 6])]
    together = count_pieces(pieces([1, 2], [3], [4, 5, 6]))
    assert together.buckets_K.tolist() == [b for each in alone for b in each.buckets_K.tolist()]
    many = count_pieces(pieces(*[[1, 2]] * 5000))  # in several parts
    assert np.unique(many.buckets_K).tolist() == alone[0].buckets_K.tolist()
    assert many.starts[-1] == 15_000


def test_order_and_length_of_a_run_matter():
    found = [count_pieces(pieces(text)).buckets_K.tolist() for text in ([1, 2], [2, 1], [1, 1])]
    assert found[0] != found[1]
    assert len(found[2]) == 2


# -- the linear model -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 4])
def test_it_answers_as_scikit_learn_does(classes):
    rng = np.random.default_rng(0)
    texts = [rng.integers(0, 40, rng.integers(1, 30)).astype(np.int32) for _ in range(200)]
    true_N = np.array([int(text.sum()) % classes for text in texts])
    counts = count_pieces(texts)
    ours = softmax(fit_linear(matrix(counts), true_N, classes).logits(counts))
    known = np.unique(counts.buckets_K)
    weighed = TfidfTransformer(sublinear_tf=True).fit_transform(matrix(counts)[:, known])
    theirs = LogisticRegression(C=10.0, tol=1e-5, max_iter=150).fit(weighed, true_N).predict_proba(weighed)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    assert (ours.argmax(1) == theirs.argmax(1)).all()


def test_classes_that_never_came_are_never_said():
    counts = count_pieces(pieces([1], [2], [1], [2]))
    chances = softmax(fit_linear(matrix(counts), [3, 1, 3, 1], 5).logits(counts))
    assert chances.argmax(1).tolist() == [3, 1, 3, 1]
    assert (chances[:, [0, 2, 4]] == 0).all()
    only = softmax(fit_linear(matrix(counts), [2, 2, 2, 2], 3).logits(count_pieces(pieces([9], []))))
    assert only.tolist() == [[0, 0, 1], [0, 0, 1]]


def test_a_text_of_nothing_known_gets_the_bias():
    counts = count_pieces(pieces([1, 2], [3, 4], [1], [4]))
    model = fit_linear(matrix(counts), [0, 1, 0, 1], 2)
    found = model.logits(count_pieces(pieces([], [77], [1])))
    np.testing.assert_allclose(found[:2], [model.bias_C, model.bias_C])
    assert (found[2] != model.bias_C).any()


# -- the promise ------------------------------------------------------------------------------------------------------


def test_the_bound_is_broken_as_seldom_as_it_says():
    """Of 400 samples whose mean cost is known, at most one in twenty may have a bound below it."""
    rng, broken = np.random.default_rng(0), 0
    for gain, loss in ((0.01, 0.02), (0.0, 0.05)):
        for _ in range(200):
            costs = rng.choice([-1, 0, 1], 300, p=[gain, 1 - gain - loss, loss])
            broken += upper_bound(costs) < loss - gain
    assert 0 < broken <= 20


def test_more_texts_and_fewer_losses_prove_more():
    assert upper_bound(np.zeros(1000)) < upper_bound(np.zeros(100)) < upper_bound(np.zeros(10))
    assert upper_bound(np.zeros(200)) < upper_bound(np.eye(200)[0]) < upper_bound(np.ones(200)) == 1.0
    assert upper_bound(-np.ones(200)) < -0.9
    assert upper_bound([]) == 1.0


def chances(sure, right, true_N):
    """Probabilities of two classes: so sure, and right or not."""
    said = np.where(right, true_N, 1 - true_N)
    found = np.empty((len(said), 2))
    found[np.arange(len(said)), said], found[np.arange(len(said)), 1 - said] = sure, 1 - np.asarray(sure)
    return found


def test_the_front_answers_where_it_is_as_good():
    """Sure texts are right, the others are guesses: the threshold comes to lie between."""
    rng, n = np.random.default_rng(0), 2000
    true_N, easy = rng.integers(0, 2, n), rng.random(n) < 0.7
    sure = np.where(easy, rng.uniform(0.9, 1.0, n), rng.uniform(0.5, 0.6, n))
    front = chances(sure, easy | (rng.random(n) < 0.5), true_N)
    model = chances(np.full(n, 0.99), rng.random(n) < 0.98, true_N)
    threshold, curve = choose(front, model, true_N, 0.01)
    assert 0.55 < threshold <= 0.93
    bounds = [each["bound"] for each in curve if each["threshold"] >= threshold]
    assert max(bounds) <= 0.01
    assert curve[-1]["share"] == 1.0
    assert curve[-1]["lost"] > 0.1
    assert [each["share"] for each in curve] == sorted(each["share"] for each in curve)


def test_a_promise_that_cannot_be_kept_is_not_made():
    true_N = np.zeros(50, dtype=int)
    same = chances(np.linspace(0.6, 0.9, 50), np.ones(50, bool), true_N)
    threshold, _ = choose(same, same, true_N, 0.005)  # 50 texts prove 7 points at best
    assert threshold == NEVER
    assert not Cascade(Linear(np.arange(1), np.ones(1), np.zeros((1, 2)), np.zeros(2)), NEVER).answer(pieces([1]))[1]


def test_a_share_after_a_broken_promise_is_not_taken_up():
    """Testing goes from small to large shares and ends at the first that fails: 95 % hold for all of it."""
    n = 4000
    true_N = np.zeros(n, dtype=int)
    sure = np.linspace(1, 0.6, n)
    right = np.ones(n, bool)
    right[40:100] = False  # costs that later gains make up for
    model_right = np.ones(n, bool)
    model_right[1000:1100] = False
    threshold, curve = choose(chances(sure, right, true_N), chances(sure, model_right, true_N), true_N, 0.01)
    assert threshold == NEVER
    assert any(each["bound"] <= 0.01 for each in curve)


def test_front_is_calibrated_on_what_it_did_not_see():
    rng = np.random.default_rng(1)
    texts = [rng.integers(0, 50, 12).astype(np.int32) for _ in range(600)]
    true_N = np.array([int((text < 25).sum() + rng.normal(0, 3) > 6) for text in texts], dtype=np.int32)
    front = fit_front(texts[:400], true_N[:400], texts[400:], true_N[400:], 2)
    plain = fit_linear(matrix(count_pieces(texts[:400])), true_N[:400], 2)
    counts = count_pieces(texts[400:])

    def loss(model):
        return -np.log(softmax(model.logits(counts))[np.arange(200), true_N[400:]]).mean()

    assert loss(front) < loss(plain)


# -- a folder with one ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    rng = np.random.default_rng(0)

    def some(n, place):
        words = [GOOD if i % 2 else BAD for i in range(n)]
        return [
            Example(" ".join([*rng.choice(kind, 3), *rng.choice(["it", "was", "the"], 2), f"{place}{i}"]), "bg"[i % 2])
            for i, kind in enumerate(words)
        ]

    splits = make_splits(some(200, "a"), 0, some(120, "b"), some(80, "c"))
    out = tmp_path_factory.mktemp("cascade") / "run"
    config = TrainConfig(epochs=1, learning_rate=1e-3)
    return fit(splits, out, base="tiny", config=config, compare=False, cascade=30.0), splits


def test_fit_puts_a_front_before_the_model(finished):
    done, _ = finished
    found = done.report["cascade"]
    assert found["share"] == 1.0  # the words tell it all, and the little BERT has hardly learned
    assert found["bound"] <= 0.3
    assert found["test"]["n"] == 80
    assert found["test"]["accuracy"] == 1.0
    assert found["speedup"] > 1
    info = json.loads((done.folder / "filbert.json").read_text())
    assert info["cascade"] == {"points": 30.0, "threshold": found["threshold"]}
    assert "front.safetensors" in info["files"]


def test_the_front_learns_what_the_model_answers_to_more_texts(finished, tmp_path):
    """Two words that never meet in a labelled text: the front can know the pair from the model alone."""
    done, splits = finished
    more = tmp_path / "more.txt"
    texts = [f"{GOOD[i % 3]} bad {GOOD[i % 2]}" for i in range(60)]
    more.write_text("\n".join([*texts, "", splits.test[0].text]) + "\n", encoding="utf-8")
    read = texts_of([more], splits.held_out, Silent())
    assert read == texts  # neither the empty line nor the test text
    engine = quick_engine(done.folder, "cpu")
    _, answers_N = pseudo_labelled(engine, read, Silent())
    assert [engine.labels[n] for n in answers_N] == [each.label for each in engine.predict(read)]
    known = {"validation": engine.predict_proba([example.text for example in splits.validation])}
    known["test"] = engine.predict_proba([example.text for example in splits.test])
    encodings = {name: engine.encode([each.text for each in part]) for name, part in splits.parts.items()}
    folder = tmp_path / "copy"
    shutil.copytree(done.folder, folder)
    found = put_in_front(engine, folder, splits, 40.0, encodings=encodings, known=known, unlabelled=read)
    assert found["pseudo_labelled"] == 60
    [pair] = engine.encode(["good bad"])
    buckets_K = count_pieces([pair.ids]).buckets_K
    for path, expected in ((done.folder, False), (folder, True)):
        assert np.isin(buckets_K, load(path).front.linear.buckets_F).all() == expected
    assert "taught by BERT on 60 texts without a label" in cascade_line(found)


def test_the_page_and_the_card_tell_of_it(finished):
    done, _ = finished
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "A linear model in front" in page
    assert "the 100 % of texts it is sure of" in page
    assert "--no-cascade" in (done.folder / "README.md").read_text(encoding="utf-8")


def test_both_answer_together(finished):
    done, splits = finished
    texts = [example.text for example in splits.test]
    both, alone = load(done.folder), load(done.folder, cascade=False)
    assert both.front is not None
    assert alone.front is None
    found = both.predict([*texts, "", "zebra " * 200])
    assert [each.label for each in found[:80]] == [example.label for example in splits.test]
    assert all(each.in_front for each in found[:80])
    assert found[80].error == "empty_text"
    assert not any(each.in_front for each in alone.predict(texts))
    saved = load_model(done.folder)
    some = Cascade(saved.parts.front.linear, float(np.median(both.predict_proba(texts).max(1))))  # sure of half of them
    both.front = some
    counted = []
    mixed = both.predict_proba(texts, done=counted.append)
    sure = some.answer([encoding.ids for encoding in both.encode(texts)])[1]
    assert 0 < sure.sum() < 80
    np.testing.assert_allclose(mixed[~sure], alone.predict_proba(texts)[~sure], atol=1e-6)
    assert counted[0] == sure.sum()
    assert counted[-1] == 80
    marked = both.predict(["zebra " * 1000])[0]
    assert marked.truncated or marked.in_front


def test_a_front_of_another_model_is_refused(finished, tmp_path):
    done, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(done.folder, copy)
    with (copy / "front.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match=r"front.safetensors — its SHA-256 differs"):
        load_model(copy)
    (copy / "front.safetensors").unlink()
    with pytest.raises(ModelError, match=r"front.safetensors is missing"):
        load_model(copy)


def test_a_model_saved_over_it_has_no_front(finished, tmp_path):
    done, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(done.folder, copy)
    saved = load_model(copy)
    save_model(copy, saved.model, saved.parts.tokenizer, saved.parts.labels, {"max_length": 64})
    assert not (copy / "front.safetensors").exists()
    assert load(copy).front is None


def test_points_that_make_no_sense_are_refused_before_training(tmp_path):
    splits = make_splits([Example(f"text {n}", "ab"[n % 2]) for n in range(40)])
    for points in (0.0, -1.0, 100.0):
        with pytest.raises(ConfigError, match="give more than 0"):
            fit(splits, tmp_path / "run", base="tiny", cascade=points)
    assert not (tmp_path / "run").exists()


def test_too_few_texts_leave_the_model_alone(tmp_path):
    splits = make_splits([Example(f"{'good' if n % 2 else 'bad'} text {n}", "bg"[n % 2]) for n in range(60)])
    done = fit(splits, tmp_path / "run", base="tiny", config=TrainConfig(epochs=1), compare=False, cascade=0.5)
    assert done.report["cascade"]["share"] == 0
    assert load(done.folder).front is None
    assert "No linear model was put in front: 6 validation texts" in (done.folder / "report.html").read_text()
