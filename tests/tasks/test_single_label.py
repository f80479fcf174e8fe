"""One label a text: how a cell is read, what moves the loss, which class wins a tie, what is refused."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from small import LABELS, classifier, rows, tokenizer

from filbert import tasks
from filbert.errors import DataError, Place, Refusal
from filbert.model.packing import pack
from filbert.model.run import tensors_of
from filbert.records import Example
from filbert.tasks import single_label
from filbert.tasks.single_label.objective import cross_entropy
from filbert.tasks.single_label.outputs import labelled
from filbert.tasks.single_label.settings import Settings

SETTINGS = Settings(LABELS)


def examples(*labels: str) -> list[Example]:
    return [Example((f"text {n}",), label, Place("f.csv", n + 2)) for n, label in enumerate(labels)]


# -- cells ------------------------------------------------------------------------------------------------------------


def test_a_cell_is_a_label_as_it_stands():
    parse = single_label.read(["pos", "neg"], {}).parse
    assert [parse(cell) for cell in ("pos", " 01", "a,b")] == ["pos", " 01", "a,b"]


@pytest.mark.parametrize("cell", ["", " ", "\u200b", "\ufeff"])
def test_D10_a_label_that_cannot_be_seen_is_refused(cell):
    with pytest.raises(Refusal, match="is empty or cannot be seen"):
        single_label.read(["pos"], {}).parse(cell)


def test_an_array_of_one_label_is_that_label_and_of_two_is_refused():
    parse = single_label.read(['["好评"]', '["差评"]'], {}).parse
    assert [parse(cell) for cell in ('["好评"]', "[broken", '{"a": 1}')] == ["好评", "[broken", '{"a": 1}']
    for cell, count in (('["a", "b"]', 2), ("[]", 0)):
        with pytest.raises(Refusal, match=f"holds {count} labels.*--task multi-label"):
            parse(cell)


def test_merged_labels_are_read_as_the_other_one_and_counted():
    reading = single_label.read(["Pos"], {"Pos": "pos", "x": "y"})
    assert [reading.parse(cell) for cell in ("Pos", "neg", "Pos")] == ["pos", "neg", "pos"]
    assert list(reading.notes()) == [
        "texts with the label 'Pos' read as 'pos': 2",
        "warning: --merge-labels 'x=y' met no such label",
    ]


def test_stars_stay_classes_with_a_hint():
    task, reading = tasks.found(["1", "2", "3", "4", "5"] * 10, Place("a.csv"))
    assert task is single_label
    assert reading.how.endswith("--task regression reads them as numbers")
    assert "regression" not in tasks.found(["0", "1"] * 10, Place("a.csv"))[1].how


def test_class_names_with_a_comma_stay_single_labels():
    cells = ["Furniture, indoor", "Food", "Toys", "Food", "Furniture, indoor"] * 10
    task, reading = tasks.found(cells, Place("a.csv"))
    assert task is single_label
    assert reading.parse("Furniture, indoor") == "Furniture, indoor"
    assert single_label.settle(examples(*cells), {}, "a.csv").labels == ("Food", "Furniture, indoor", "Toys")


def test_labels_that_are_lists_are_refused_where_classes_were_asked_for():
    cells = ["negative,a", "a", "negative", "negative,b", "b"] * 4
    with pytest.raises(DataError, match=r"f\.csv:2 label — the labels look like lists of labels .* --task multi-label"):
        single_label.settle(examples(*cells), {}, "f.csv")


@pytest.mark.parametrize("value", [None, float("nan"), " ", ""])
def test_D10_a_missing_value_is_no_label(value):
    with pytest.raises(Refusal, match="give each text a label"):
        single_label.target_of(value)


def test_values_are_their_text():
    assert [single_label.target_of(value) for value in ("a", 3, True, 2.5)] == ["a", "3", "True", "2.5"]


# -- head and loss ----------------------------------------------------------------------------------------------------


def test_a_window_has_the_number_of_its_label():
    encodings = tokenizer().encode(["a badly film"])
    [row] = single_label.features(encodings, "übel", tokenizer(), SETTINGS, 16)
    assert (row.ids.tolist(), row.target) == ([2, 10, 6, 9, 7, 3], 2)
    [asked] = single_label.features(encodings, None, tokenizer(), SETTINGS, 16)
    assert asked.target is None


def test_outputs_are_fp32_whatever_the_encoder_is():
    model, batch = classifier(), pack(rows([5, 9]))
    model.encoder.bfloat16()
    assert model(*tensors_of(batch, "cpu")).dtype == torch.float32


def test_loss_is_the_summed_cross_entropy():
    logits_BC = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    by_hand = -math.log(math.e / (math.e + 2)) + math.log(3)
    assert cross_entropy(logits_BC, torch.tensor([0, 1])).item() == pytest.approx(by_hand)
    weighed = cross_entropy(logits_BC, torch.tensor([0, 1]), (1.0, 4.0, 1.0)).item()
    assert weighed == pytest.approx(by_hand + 3 * math.log(3))


@pytest.mark.parametrize("text", range(4))
@pytest.mark.parametrize("target", range(len(LABELS)))
def test_each_label_moves_the_loss(text, target):
    """No class and no row is ignored: another target is another loss, and a gradient that pulls towards it."""
    model, batch = classifier(), pack(rows([5, 9, 3, 7]))
    logits_BC = model(*tensors_of(batch, "cpu")).detach().requires_grad_()
    targets_B = torch.tensor([0, 1, 2, 0])
    losses = []
    for other in range(len(LABELS)):
        targets_B[text] = other
        losses.append(cross_entropy(logits_BC, targets_B).item())
    assert len({round(loss, 6) for loss in losses}) == len(LABELS)
    targets_B[text] = target
    (gradient_BC,) = torch.autograd.grad(cross_entropy(logits_BC, targets_B), logits_BC)
    assert (gradient_BC[text] < 0).tolist() == [c == target for c in range(len(LABELS))]


def test_every_weight_has_a_part_in_the_loss():
    model, batch = classifier(dropout=0.0).train(), pack(rows([5, 9, 3, 7], targets=[0, 1, 2, 0]))
    single_label.loss(model(*tensors_of(batch, "cpu")), batch, SETTINGS).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_balancing_makes_every_class_count_alike():
    train = examples(*["a"] * 9, *["b"] * 3)
    settings = single_label.settle(train, {}, "memory")
    weighed, _ = single_label.balanced(train, settings, "weights")
    assert weighed.weights == (12 / 18, 2.0)
    same, chances_N = single_label.balanced(train, settings, "sampling")
    assert same == settings
    assert chances_N is not None
    assert chances_N[:9].sum() == pytest.approx(0.5)


# -- decode and score -------------------------------------------------------------------------------------------------


def test_decode_names_the_most_probable():
    logits_NWC = np.log([[[0.2, 0.5, 0.3]]])
    [found] = single_label.decode(logits_NWC, SETTINGS)
    assert (found.label, found.error, found.truncated) == ("fine", None, False)
    assert found.probabilities == pytest.approx((0.2, 0.5, 0.3))
    assert found.confidence == pytest.approx(0.5)
    assert single_label.decode([], SETTINGS) == []


@pytest.mark.parametrize(
    ("probabilities", "label"), [((0.4, 0.4, 0.2), "dull"), ((0.2, 0.4, 0.4), "fine"), ((1 / 3,) * 3, "dull")]
)
def test_of_equal_classes_the_first_wins(probabilities, label):
    assert labelled(np.array([probabilities]), SETTINGS)[0].label == label


def test_score_counts_right_answers():
    given = labelled(np.eye(3)[[0, 1, 2, 0]] * 0.9 + 0.1 / 3, SETTINGS)
    found = single_label.score(examples("dull", "fine", "übel", "übel"), given, SETTINGS)
    assert found["accuracy"]["value"] == 0.75


def test_validation_goes_by_macro_f1_and_then_by_the_loss():
    sure, unsure = (np.eye(3)[[0, 1, 2]][:, None] * size for size in (9.0, 2.0))
    wrong = np.eye(3)[[0, 1, 1]][:, None] * 9.0
    goals = [
        single_label.validate(outputs, examples("dull", "fine", "übel"), SETTINGS)[0]
        for outputs in (wrong, unsure, sure)
    ]
    assert goals[0] < goals[1] < goals[2]


def test_mistakes_come_most_confident_first_with_their_place():
    two = Settings(("a", "b"))
    given = labelled(np.array([[0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [0.3, 0.7]]), two)
    asked = [*examples("a", "a", "a"), Example(("x" * 9000,), "a")]
    found = single_label.mistakes(asked, given, two)
    assert [(each["place"], each["probability"]) for each in found] == [
        ("f.csv:4", 0.9),
        ("memory", 0.7),
        ("f.csv:2", 0.6),
    ]
    assert len(found[1]["text"]) == 2_000


def test_sureness_is_the_lead():
    outputs = np.log([[[0.7, 0.2, 0.1]], [[0.4, 0.4, 0.2]]])
    chances_NC, lead_N = single_label.sureness(outputs, SETTINGS)
    np.testing.assert_allclose(chances_NC, [[0.7, 0.2, 0.1], [0.4, 0.4, 0.2]])
    np.testing.assert_allclose(lead_N, [0.5, 0.0], atol=1e-12)


def test_uneven_classes_are_said():
    train = examples(*["usual"] * 50, *["rare"] * 4)
    settings = single_label.settle(train, {}, "memory")
    lines, facts = single_label.described({"train": train}, settings)
    assert facts == {"label_counts": {"train": {"rare": 4, "usual": 50}}}
    assert any("'usual' has 50 training texts, 'rare' 4; --balance auto" in line for line in lines)


def test_of_a_rare_class_one_text_does_not_choose_the_best_step() -> None:
    """With three rare texts of thirty macro-F1 jumps by each; the classes' cross-entropy says what came nearer."""
    rows = examples(*["dull"] * 27, *["fine"] * 3)
    logits_NC = np.tile([2.0, 0.0, -9.0], (30, 1))
    nearer_NC = logits_NC.copy()
    nearer_NC[27:, 1] = 1.5  # still not the answer, and closer to it
    before, after = (single_label.validate(x[:, None], rows, SETTINGS) for x in (logits_NC, nearer_NC))
    assert after[0] > before[0]
    assert before[1]["macro_f1"] == after[1]["macro_f1"]
    assert after[0][0] == -after[1]["balanced_loss"]
    even = examples(*["dull"] * 15, *["fine"] * 15)
    score, figures = single_label.validate(logits_NC[:, None], even, SETTINGS)
    assert score == (figures["macro_f1"], -figures["loss"])  # as it was


def test_probabilities_read_as_a_tuple_and_take_the_room_of_an_array():
    chances_NC = np.array([[0.25, 0.75], [0.5, 0.5]])
    one, two = labelled(chances_NC, Settings(("a", "b")))
    assert one.probabilities == (0.25, 0.75) == copy.deepcopy(one).probabilities
    assert (one.probabilities[0], one.probabilities[-1], one.probabilities[:1]) == (0.25, 0.75, (0.25,))
    assert {type(each) for each in one.probabilities} == {float}
    assert repr(two.probabilities) == "(0.5, 0.5)"
    assert one.probabilities != two.probabilities
    assert hash(one) == hash(copy.deepcopy(one))
    assert np.shares_memory(chances_NC, one.probabilities._row)
