"""Several labels a text, or none: found in a column, learned, given from each label's own probability on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from finished import EVIL, run
from small import VOCAB, spread, tokenizer
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from filbert import tasks
from filbert.errors import DataError, ModelError, Place, Refusal
from filbert.finetuning.dataset import read_dataset
from filbert.inference.engine import load
from filbert.inference.model import open_model
from filbert.model.packing import pack
from filbert.records import Example, Features
from filbert.tasks import multi_label
from filbert.tasks.multi_label.objective import binary_cross_entropy
from filbert.tasks.multi_label.outputs import labelled
from filbert.tasks.multi_label.settings import HEAVIEST, Settings

LABELS = ("a", "b", "c")
SETTINGS = Settings(LABELS)
SETS = [("a", "b"), ("b",), ("a",), ("b", "c"), ("c",), ("a", "b", "c")]


def examples(*sets: tuple[str, ...]) -> list[Example]:
    return [Example((f"text {n}",), labels, Place("f.csv", n + 2)) for n, labels in enumerate(sets)]


# -- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", ["|", ";", ",", "、", "；", "，", " | "])
def test_every_separator_is_found_and_printed(tmp_path, separator):
    rows = [{"text": f"text {n}", "label": separator.join(SETS[n % 6])} for n in range(30)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    data = read_dataset(path)
    assert (data.task.NAME, data.settings.labels) == ("multi-label", LABELS)
    assert {row.target for row in data.splits.train} <= {tuple(each) for each in SETS}
    assert any(f"several labels a text, separated by '{separator.strip()}' (15 of 30 cells" in x for x in data.found)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_arrays_are_read_and_an_empty_one_is_no_label(tmp_path, kind):
    sets = [*SETS, ()]
    if kind == "jsonl":
        lines = [json.dumps({"text": f"text {n}", "labels": sets[n % 7]}) for n in range(35)]
    else:
        cells = [json.dumps(each).replace('"', '""') for each in sets]
        lines = ["text,labels", *(f'text {n},"{cells[n % 7]}"' for n in range(35))]
    (tmp_path / f"a.{kind}").write_text("\n".join(lines), encoding="utf-8")
    data = read_dataset(tmp_path / f"a.{kind}")
    assert (data.task.NAME, data.settings.labels) == ("multi-label", LABELS)
    assert () in {row.target for row in data.splits.train}
    assert any("several labels a text, as lists" in line for line in data.found)
    assert any("5 of 35 texts have none" in line for line in data.found)


@pytest.mark.parametrize("cell", ["", " "])
def test_an_empty_cell_is_no_label(cell):
    assert multi_label.read(["a|b", "b", "a"], {}).parse(cell) == ()


def test_an_empty_cell_of_a_file_is_a_text_without_labels(tmp_path):
    cells = ["a|b", "b", "a", ""]
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"text {n},{cells[n % 4]}\n" for n in range(40)))
    data = read_dataset(path, task="multi-label")
    assert sum(row.target == () for part in data.splits.parts.values() for row in part) == 10


def test_a_column_that_can_be_either_is_asked_about_with_both_flags(tmp_path):
    cells = ["a"] * 60 + ["b"] * 35 + ["a,b"] * 5
    with pytest.raises(DataError) as caught:
        tasks.found(cells, Place("a.csv"))
    said = str(caught.value)
    assert said.startswith("a.csv label — can be read in two ways: 5 of 100 cells hold ',' between labels that recur")
    assert "--task multi-label or --task single-label" in said
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f'text {n},"{cell}"\n' for n, cell in enumerate(cells)))
    assert read_dataset(path, task="multi-label").settings.labels == ("a", "b")
    assert read_dataset(path, task="single-label").settings.labels == ("a", "a,b", "b")


def test_broken_arrays_are_refused():
    parse = multi_label.read(['["a", "b"]', "[]"], {}).parse
    with pytest.raises(Refusal, match=r'is no list of labels: \'\["a"\' — write \["a", "b"\], or a\|b'):
        parse('["a"')


def test_merged_labels_are_one_and_counted():
    reading = multi_label.read(["A|b", "A", "a", "b"], {"A": "a"})
    assert [reading.parse(cell) for cell in ("A|a", "b|A")] == [("a",), ("b", "a")]
    assert list(reading.notes()) == ["texts with the label 'A' read as 'a': 2"]


def test_values_are_lists_sets_or_one_label():
    assert [multi_label.target_of(value) for value in (["b", "a", "b"], (), "one", {"x"}, [1, 2])] == [
        ("b", "a"),
        (),
        ("one",),
        ("x",),
        ("1", "2"),
    ]
    for value in (None, float("nan")):
        with pytest.raises(Refusal, match="an empty one where it has none"):
            multi_label.target_of(value)


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ([(), ()], "no text has a label"),
        ([("a",), ("a",), ("a", "b")], "the label 'b' has one text for training"),
    ],
)
def test_D11_labels_that_cannot_be_learned(sets, said):
    with pytest.raises(DataError, match=said):
        multi_label.settle(examples(*sets), {}, "f.csv")


def test_D11_an_unknown_label_is_named_with_its_count():
    [found] = multi_label.unknown(examples(("a",), ("a", "x"), ("x",), ()), SETTINGS)
    assert (str(found.place), found.wrong) == ("f.csv:3", "the model has no label 'x' (2 texts)")


def test_a_split_keeps_the_share_of_the_rarest_label_of_each_text():
    sets = [("usual", "rare") if n % 10 == 0 else ("usual",) if n % 2 else () for n in range(200)]
    assert multi_label.strata(examples(*sets))[:3] == ["rare", "usual", ""]
    data = tasks.multi_label.settle(examples(*sets), {}, "memory")
    assert data.labels == ("rare", "usual")


def test_rare_labels_weigh_more_and_never_more_than_20():
    train = examples(*[("usual",)] * 50, *[("usual", "rare")] * 2, *[()] * 48)
    settings = multi_label.settle(train, {}, "memory")
    weighed, _ = multi_label.balanced(train, settings, "weights")
    assert weighed.weights == pytest.approx(((98 / 2) ** 0.5, (48 / 52) ** 0.5))
    many = examples(*[("usual",)] * 2000, ("usual", "rare"), ("usual", "rare"))
    assert max(multi_label.balanced(many, settings, "weights")[0].weights) == HEAVIEST


# -- loss -------------------------------------------------------------------------------------------------------------


def test_loss_is_the_binary_cross_entropy_of_each_label_on_average():
    logits_BL, targets_BL = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    chances = torch.sigmoid(logits_BL)
    by_hand = -(targets_BL * chances.log() + (1 - targets_BL) * (1 - chances).log()).sum() / 2
    assert binary_cross_entropy(logits_BL, targets_BL).item() == pytest.approx(by_hand.item())
    weighed = binary_cross_entropy(logits_BL, targets_BL, (3.0, 1.0)).item()
    more = -2 * (chances[:, 0].log()).sum().item() / 2
    assert weighed == pytest.approx(by_hand.item() + more, rel=1e-5)


def test_a_head_that_starts_at_the_prior_loses_what_a_model_loses_that_does_not_read():
    train = examples(*[("usual",)] * 50, *[("usual", "rare")] * 2, *[()] * 48)
    settings = multi_label.settle(train, {}, "memory")
    prior_L = multi_label.prior(train, settings)
    targets_NL = torch.tensor([[label in each.target for label in settings.labels] for each in train]).float()
    loss = binary_cross_entropy(torch.tensor(prior_L).float().expand(len(train), -1), targets_NL) / len(train)
    _, constant = multi_label.constant(train, 1, settings)
    assert loss.item() == pytest.approx(constant, abs=1e-3)
    assert prior_L[0] < -3 < 0 < prior_L[1]  # rare, usual


@pytest.mark.parametrize("label", range(3))
def test_each_label_moves_the_loss_its_own_way(label):
    encodings = tokenizer().encode(["good film"])
    logits_BL = torch.zeros(2, 3, requires_grad=True)

    def windows(first: tuple[str, ...]) -> list[Features]:
        sets = (first, ("c",))
        return [multi_label.features(encodings, each, tokenizer(), SETTINGS, 16)[0] for each in sets]

    gradients = []
    for target in ((), (LABELS[label],)):
        loss = multi_label.loss(logits_BL, pack(windows(target)), SETTINGS)
        (gradient_BL,) = torch.autograd.grad(loss, logits_BL)
        gradients.append(gradient_BL)
    changed_BL = gradients[0] != gradients[1]
    assert changed_BL.nonzero().tolist() == [[0, label]]
    assert gradients[0][0, label] > 0 > gradients[1][0, label]


# -- decode and score -------------------------------------------------------------------------------------------------


def test_a_label_is_given_from_its_own_threshold_on():
    settings = Settings(LABELS, thresholds=(0.9, 0.2, 0.5))
    found = labelled(np.array([[0.8, 0.2, 0.5], [0.95, 0.1, 0.4], [0.1, 0.1, 0.1]]), settings)
    assert [one.labels for one in found] == [("b", "c"), ("a",), ()]
    assert [one.labels for one in labelled(np.array([[0.8, 0.2, 0.5]]), SETTINGS)] == [("a", "c")]


def test_sureness_is_how_far_the_nearest_label_is_from_its_threshold():
    outputs = np.log([[[4.0, 1.0, 1 / 3]]])  # 0.8, 0.5, 0.25
    chances_NL, margin_N = multi_label.sureness(outputs, Settings(LABELS, thresholds=(0.7, 0.1, 0.5)))
    np.testing.assert_allclose(chances_NL, [[0.8, 0.5, 0.25]])
    np.testing.assert_allclose(margin_N, [0.2])


def test_thresholds_are_tuned_stored_and_used():
    """A label whose probabilities are all low is still found: its threshold comes down to where it is told apart."""
    random = np.random.default_rng(0)
    true_NL = random.random((400, 2)) < 0.3
    logits_NL = np.where(true_NL, 1.0, -1.0) + random.normal(0, 0.5, (400, 2)) - [0.0, 2.5]
    asked = examples(*(tuple(np.array(["a", "b"])[row]) for row in true_NL))
    found = multi_label.calibrate(logits_NL[:, None], asked, Settings(("a", "b"), weights=(1.0, 2.0)))
    assert found.settings.weights == ()
    assert found.settings.thresholds[1] < 0.35
    assert found.facts["thresholds"] == [round(each, 4) for each in found.settings.thresholds]
    folded = logits_NL[:, None] / found.fold.divisor
    tuned, half = (
        multi_label.score(asked, multi_label.decode(folded, each), each)
        for each in (found.settings, Settings(("a", "b")))
    )
    assert tuned["macro_f1"]["value"] > half["macro_f1"]["value"] + 0.2


def test_a_finished_run_keeps_its_thresholds():
    done = run("multi-label")
    info = json.loads((done.folder / "filbert.json").read_text("utf-8"))
    engine = load(done.folder, device="cpu")
    assert engine.settings.labels == tuple(info["settings"]["labels"]) == tuple(sorted(("fine", "差", EVIL)))
    assert info["settings"]["thresholds"] == list(engine.settings.thresholds)
    assert done.report["calibration"]["thresholds"] == [round(each, 4) for each in engine.settings.thresholds]
    for one in engine.predict(["good text", "bad long text 3", "odd"]):
        expected = [
            x
            for x, p, t in zip(engine.settings.labels, one.probabilities, engine.settings.thresholds, strict=True)
            if p >= t
        ]
        assert list(one.labels) == expected
    card = (done.folder / "README.md").read_text("utf-8")
    assert f"thresholds = torch.tensor({json.dumps(done.report['calibration']['thresholds'])})" in card


def test_the_cells_of_a_result_can_be_read_again():
    for labels in ((), ("a",), ("a", "b"), ("a|b", "c"), ("[x]",)):
        settings = Settings(("a", "a|b", "b", "c", "[x]"))
        [found] = labelled(np.array([[float(label in labels) for label in settings.labels]]), settings)
        cell = multi_label.row(found, settings)["labels"]
        cells = ['["p", "q"]', "[]"] if cell.startswith("[") else ["a|b", "b", "a"]
        assert sorted(multi_label.read(cells, {}).parse(cell)) == sorted(labels)


def test_validation_goes_by_average_precision():
    asked = examples(("a",), ("b",), (), ("a", "b"))
    true_NL = np.array([[1, 0], [0, 1], [0, 0], [1, 1]]) * 4.0 - 2
    two = Settings(("a", "b"))
    good, figures = multi_label.validate(true_NL[:, None], asked, two)
    bad, _ = multi_label.validate(-true_NL[:, None], asked, two)
    assert good > bad
    assert figures["map"] == pytest.approx(1)
    assert figures["micro_f1"] == pytest.approx(1)


def test_mistakes_are_those_that_were_surest():
    asked = examples(("a",), (), ("b", "c"))
    given = labelled(np.array([[0.6, 0.9, 0.1], [0.2, 0.2, 0.2], [0.1, 0.03, 0.9]]), SETTINGS)
    found = multi_label.mistakes(asked, given, SETTINGS)
    assert [(each["place"], each["label"], each["probability"]) for each in found] == [
        ("f.csv:4", "b", 0.03),
        ("f.csv:2", "b", 0.9),
    ]
    assert (found[1]["labels"], found[1]["predicted"]) == (["a"], ["a", "b"])


# -- other people's ---------------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(tmp_path: Path) -> tuple[Path, BertForSequenceClassification]:
    config = BertConfig(
        vocab_size=len(VOCAB), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, id2label=dict(enumerate(LABELS)), problem_type="multi_label_classification",
    )  # fmt: skip
    theirs = spread(BertForSequenceClassification(config)).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer().save(tmp_path, 64)
    return tmp_path, theirs  # type: ignore[return-value]


@torch.no_grad()
def test_other_peoples_model_gives_what_transformers_gives_from_a_half_on(foreign):
    folder, theirs = foreign
    texts = ["good", "a badly film", "not a good film not bad", "xyz good"]
    words = AutoTokenizer.from_pretrained(folder)
    expected_NL = theirs(**words(texts, padding=True, return_tensors="pt")).logits.sigmoid().numpy()
    engine = load(folder)
    found = engine.predict(texts)
    assert engine.task.NAME == "multi-label"
    assert np.abs(np.array([one.probabilities for one in found]) - expected_NL).max() <= 1e-5
    assert [one.labels for one in found] == [
        tuple(label for label, p in zip(LABELS, row, strict=True) if p >= 0.5) for row in expected_NL
    ]


@pytest.mark.parametrize("thresholds", [[0.5], [0.5, 0.5, "x"], [0.5, 0.5, 1.5], "abc"])
def test_M37_thresholds_that_are_none(foreign, thresholds):
    folder, _ = foreign
    config = json.loads((folder / "config.json").read_text())
    told = {"settings": {"labels": list(LABELS), "thresholds": thresholds}}
    with pytest.raises(ValueError, match="thresholds are"):
        multi_label.reopen(told, config)
    assert open_model(folder).settings == Settings(LABELS)


def test_M37_a_model_of_one_label_is_not_of_several(foreign):
    folder, _ = foreign
    (folder / "config.json").write_text(
        (folder / "config.json").read_text().replace("multi_label_classification", "object_detection")
    )
    with pytest.raises(ModelError, match="of no kind known here"):
        open_model(folder)
