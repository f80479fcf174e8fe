"""Few labels: an encoder that learns by pairs of texts, and a linear layer on its vectors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import films
import numpy as np
import pytest
import torch
from command import Run
from command import run as run  # a fixture
from films import Listening, data_of, examples
from films import run as fitted
from sklearn.linear_model import LogisticRegression
from small import chances, classifier, rows
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from filbert import load, tasks
from filbert.bases.find import find_base
from filbert.config import TrainConfig
from filbert.errors import ConfigError, Stopped
from filbert.finetuning.dataset import Dataset, settled
from filbert.finetuning.few_shot import (
    FOLDS,
    STRENGTH,
    PairFeed,
    by_pairs,
    pair_loss,
    pooled,
    seems_few,
    set_head,
)
from filbert.finetuning.frozen import SMALL, answers
from filbert.records import Example
from filbert.report.few_shot import few_shot_line

CONFIG = TrainConfig(epochs=4, batch_size=8, precision="fp32", learning_rate=1e-3, few_shot=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base that says it was trained by the mean."""
    folder = tmp_path_factory.mktemp("base") / "base"
    shutil.copytree(films.finished(), folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    return folder


def few(test: int = 12) -> Dataset:
    return data_of(examples(24, 0), examples(test, 1))


@pytest.fixture(scope="module")
def model(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("few") / "run", data=few(), base=str(base), config=CONFIG).folder


def test_the_loss_is_of_all_pairs_and_each_label_moves_it() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors_BD, class_B = torch.randn(6, 5, generator=generator), torch.tensor([0, 1, 2, 0, 1, 2])

    def expected(class_B: Tensor) -> float:
        unit = vectors_BD / vectors_BD.norm(dim=1, keepdim=True)
        pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
        near = [(1 - unit[i] @ unit[j]) ** 2 for i, j in pairs if class_B[i] == class_B[j]]
        apart = [(unit[i] @ unit[j]) ** 2 for i, j in pairs if class_B[i] != class_B[j]]
        return 6 * float(sum(near) / len(near) + sum(apart) / len(apart)) / 2

    assert pair_loss(vectors_BD, class_B).item() == pytest.approx(expected(class_B), rel=1e-5)
    for i in range(6):
        changed_B = class_B.clone()
        changed_B[i] = (class_B[i] + 1) % 3
        assert pair_loss(vectors_BD, changed_B).item() == pytest.approx(expected(changed_B), rel=1e-5)
        assert pair_loss(vectors_BD, changed_B).item() != pytest.approx(pair_loss(vectors_BD, class_B).item())
    alone = pair_loss(vectors_BD[:1], class_B[:1])  # a text that fills a batch has no pair
    assert alone.item() == 0


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_logistic_regression(classes: int) -> None:
    random = np.random.default_rng(0)
    class_N = np.arange(30, dtype=np.int32) % classes
    rows_ND = random.normal(size=(30, 8)) + 2 * np.eye(8)[class_N]
    network = classifier(classes)
    set_head(network, rows_ND, class_N)
    unit_ND = np.tanh(SMALL * rows_ND) / SMALL / np.sqrt(8)
    wanted_NC = LogisticRegression(C=STRENGTH, max_iter=1_000).fit(unit_ND, class_N).predict_proba(unit_ND)
    found_NC = torch.from_numpy(answers(network, rows_ND)).softmax(1).numpy()
    assert found_NC == pytest.approx(wanted_NC, abs=1e-5)


def test_every_batch_has_pairs_of_one_class_and_of_two() -> None:
    for classes, size in ((2, 8), (3, 8), (40, 16)):
        class_N = np.arange(3 * classes, dtype=np.int32) % classes
        feed = PairFeed(rows([5] * len(class_N), class_N.tolist()), class_N, size, 8_192, 0)
        for step in range(4):
            drawn_B = feed.rows(step, 0.0)
            counts = np.unique(class_N[drawn_B], return_counts=True)[1]
            assert len(counts) >= 2
            assert counts.min() >= 2
            assert len(drawn_B) == len({*drawn_B.tolist()}) <= max(size, 2 * 2)
        assert feed.rows(0, 0.0).tolist() == feed.rows(0, 0.5).tolist() != feed.rows(1, 0.0).tolist()


def test_no_text_is_kept_back_and_none_is_judged_by_a_model_that_saw_it(base: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    texts = [Example((f"film n{n} scene n{n} story n{n}",), str(random.choice(["neg", "pos"]))) for n in range(40)]
    done = fitted(tmp_path / "run", data=data_of(texts), base=str(base), config=CONFIG)
    assert done.report["data"]["counts"] == {"train": 40, "validation": 40}
    seen = load(done.folder).predict([example.text for example in texts])
    right = np.mean([each.label == example.target for each, example in zip(seen, texts, strict=True)])
    judged = done.report["scores"]["validation"]["accuracy"]["value"]
    assert judged < 0.7 <= right  # labels by chance: they can be learned by heart, and not be guessed
    assert f"in {FOLDS} folds" in (done.folder / "README.md").read_text("utf-8")


def test_the_folder_is_a_bert_like_any_other(model: Path) -> None:
    theirs = AutoModelForSequenceClassification.from_pretrained(model).eval()
    words = AutoTokenizer.from_pretrained(model)
    texts = [example.text for example in few().splits.test]
    with torch.no_grad():
        expected_NC = theirs(**words(texts, padding=True, return_tensors="pt")).logits.softmax(-1).numpy()
    assert np.abs(chances(load(model), texts) - expected_NC).max() <= 1e-5


def test_the_report_says_how_it_learned(model: Path) -> None:
    report = json.loads((model / "report.json").read_text("utf-8"))
    told = report["few_shot"]
    assert (told["texts"], told["classes"], told["folds"]) == (24, 2, FOLDS)
    assert {*told["tried"]} == {"frozen", "tuned"}
    assert report["training"]["epochs"] == (CONFIG.epochs if told["chosen"] == "tuned" else 0)
    assert few_shot_line(told) in (model / "README.md").read_text("utf-8")
    assert 'id="few-shot"' in (model / "report.html").read_text("utf-8")


def test_it_is_proposed_where_labels_are_few(base: Path) -> None:
    found, plain, watch = find_base(str(base)), TrainConfig(), Listening()
    assert by_pairs(few(), found, plain, watch).few_shot is False
    assert watch.told[0].startswith("few labels: 24 texts, 12 of a label; --few-shot learns them")
    assert by_pairs(few(), found, CONFIG, watch) == CONFIG.with_options(pooling="auto")
    by_pairs(few(), found, TrainConfig(few_shot=False), watch)
    assert len(watch.told) == 1
    assert not seems_few(few(), found, TrainConfig(epochs=2))  # who says how often wants fine-tuning
    assert not seems_few(data_of(examples(200, 0)), found, plain)
    assert not seems_few(few(), find_base(str(films.finished())), plain)  # no base for vectors of texts
    assert not seems_few(few(), find_base("tiny"), plain)


def test_it_is_refused_where_it_cannot_be(base: Path, run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="random weights"):
        fitted(tmp_path / "run", data=few(), base="tiny", config=CONFIG)
    with pytest.raises(ConfigError, match="no --balance"):
        fitted(tmp_path / "run", data=few(), base=str(base), config=CONFIG.with_options(balance="weights"))
    with pytest.raises(ConfigError, match="several windows"):
        fitted(tmp_path / "run", data=few(), base=str(base), config=CONFIG.with_options(long="windows"))
    lines = "\n".join(f"text {n} words,{n / 7:.2f}" for n in range(40))
    (tmp_path / "numbers.csv").write_text(f"text,score\n{lines}\n", encoding="utf-8")
    ran = run("fit", "numbers.csv", "--label", "score", "--base", base, "--few-shot")
    assert ran.code == 2
    assert "--few-shot — numbers make no pairs" in ran.err


def test_validation_texts_that_are_given_are_used(base: Path, tmp_path: Path) -> None:
    parts = settled(tasks.named("single-label"), examples(24, 0), examples(10, 2), (), seed=0, name="memory")
    done = fitted(tmp_path / "run", data=parts, base=str(base), config=CONFIG, unknown=0.2)
    assert done.report["few_shot"]["folds"] is None
    assert done.report["data"]["counts"] == {"train": 24, "validation": 10}
    assert load(done.folder).farthest is not None


def test_texts_that_cannot_be_dealt_keep_the_validation_part() -> None:
    assert len(pooled(few(), CONFIG).splits.fold_of) == 24
    repeated = [*examples(20, 0), *[Example(("one text",), "rare")] * 3]
    assert pooled(data_of(repeated), CONFIG).splits.fold_of == ()


@pytest.mark.parametrize("steps", [5, 12])
def test_a_stopped_run_goes_on_to_the_same_weights(model: Path, base: Path, tmp_path: Path, steps: int) -> None:
    out, given = tmp_path / "run", {"base": str(base), "config": CONFIG}
    with pytest.raises(Stopped):
        fitted(out, data=few(), watch=films.Stopper(steps), **given)
    with pytest.raises(ConfigError, match="learning_rate"):
        fitted(out, data=few(), **{**given, "config": CONFIG.with_options(learning_rate=2e-3)})
    watch = Listening()
    again = fitted(out, data=few(), watch=watch, **given).folder
    assert any(line.startswith("resumed at step") for line in watch.told)
    assert (again / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_the_estimator_takes_it(base: Path) -> None:
    from filbert import TextClassifier

    texts, labels = zip(*[(example.text, example.target) for example in examples(24, 0)], strict=True)
    found = TextClassifier(base=str(base), few_shot=True, epochs=2, batch_size=8, precision="fp32").fit(texts, labels)
    assert found.report_["few_shot"]["texts"] == 24
    assert len(found.predict(texts)) == 24
