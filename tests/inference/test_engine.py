"""The engine gives one answer: alone, among many, in chunks, and for texts that are none."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from small import LABELS, VOCAB, chances, classifier, needs_native, save, tokenizer

from filbert.errors import ConfigError
from filbert.folder.save import add_facts
from filbert.inference import engine as engine_module
from filbert.inference.engine import EMPTY, Engine, load
from filbert.records import Example
from filbert.tasks import single_label

RANDOM = np.random.default_rng(0)
TEXTS = [" ".join(RANDOM.choice([*VOCAB[5:9], "a", "unknown"], n)) for n in RANDOM.integers(1, 100, 40)]
BLANK = ["", " ", "\n\t", "\u200b", "\x00\x01", "\ufeff", "\u00a0\u3000"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("engine") / "model", classifier(), max_length=48)


@pytest.fixture(scope="module")
def engine(folder) -> Engine:
    return load(folder, device="cpu")


def test_the_most_probable_class_is_the_answer_and_its_probability_the_confidence(engine):
    found, probabilities_NC = engine.predict(TEXTS), chances(engine, TEXTS)
    assert [one.label for one in found] == [LABELS[i] for i in probabilities_NC.argmax(1)]
    assert np.array_equal([one.probabilities for one in found], probabilities_NC)
    assert np.array_equal([one.confidence for one in found], probabilities_NC.max(1))
    assert len({one.label for one in found}) > 1
    np.testing.assert_allclose(probabilities_NC.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_alone_as_among_many(folder, precision, apart):
    engine = load(folder, device="cpu", precision=precision)
    alone = np.concatenate([chances(engine, [text]) for text in TEXTS])
    assert np.abs(chances(engine, TEXTS) - alone).max() <= apart


def test_bf16_stays_near_fp32(folder, engine):
    """Measured 0.022, above the 0.02 that `load` promises: the toy is eight wide, its head eight times too steep."""
    rough = load(folder, device="cpu", precision="bf16")
    assert np.abs(chances(rough, TEXTS) - chances(engine, TEXTS)).max() <= 0.05


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model whose widths suit the C++ part."""
    model = classifier(hidden=64, intermediate=128)
    model.last.weight.data.div_(16)
    return save(tmp_path_factory.mktemp("wide") / "model", model, max_length=48)


@needs_native
@pytest.mark.parametrize(("precision", "apart"), [("int8", 0.05), ("bf16", 0.02)])
def test_the_native_encoders_stay_near_fp32_and_give_a_text_the_same_bits_in_any_company(wide, precision, apart):
    exact, fast = chances(load(wide, device="cpu"), TEXTS), load(wide, device="cpu", precision=precision)
    found = chances(fast, TEXTS)
    assert 0 < np.abs(found - exact).max() <= apart
    assert np.array_equal(found, np.concatenate([chances(fast, [text]) for text in TEXTS]))


@needs_native
def test_int8_asks_bf16_where_it_is_unsure(wide, tmp_path):
    folder = shutil.copytree(wide, tmp_path / "model")
    add_facts(folder, {"int8_margin": 0.0})
    alone = chances(load(folder, device="cpu", precision="int8"), TEXTS)
    lead_N = np.diff(np.sort(alone)[:, -2:])[:, 0]
    unsure_N = lead_N < np.median(lead_N)
    add_facts(folder, {"int8_margin": float(np.median(lead_N))})
    fast, careful = (load(folder, device="cpu", precision=precision) for precision in ("int8", "bf16"))
    assert 0 < unsure_N.sum() < len(TEXTS)
    found, wanted = chances(fast, TEXTS), chances(careful, TEXTS)
    assert np.array_equal(found[unsure_N], wanted[unsure_N])
    assert np.array_equal(found[~unsure_N], alone[~unsure_N])
    assert not np.array_equal(found, alone)


def test_int8_is_refused_where_it_cannot_be(folder, wide, monkeypatch):
    with pytest.raises(ConfigError, match="int8"):
        load(folder, device="cpu", precision="int8")  # eight wide
    monkeypatch.setattr(engine_module, "best_device", lambda device: "cuda")
    with pytest.raises(ConfigError, match="int8 is for the CPU"):
        load(wide, precision="int8")


def test_order_is_kept(engine):
    forwards, backwards = chances(engine, TEXTS), chances(engine, TEXTS[::-1])
    np.testing.assert_allclose(forwards, backwards[::-1], atol=1e-5)


def test_D10_an_empty_text_is_not_guessed_at_and_the_others_stay(engine):
    mixed = [TEXTS[0], *BLANK, TEXTS[1], "", TEXTS[2]]
    found = engine.predict(mixed)
    for text, one in zip(mixed, found, strict=True):
        if text in BLANK:
            assert (one.label, one.probabilities, one.error) == (None, (), EMPTY)
        else:
            assert one.error is None
            (alone,) = engine.predict(text)
            assert one.label == alone.label
            np.testing.assert_allclose(one.probabilities, alone.probabilities, atol=1e-5)
    assert EMPTY == "empty_text"


def test_only_empty_texts_and_no_texts(engine):
    assert [one.error for one in engine.predict(BLANK)] == [EMPTY] * len(BLANK)
    assert engine.predict([]) == []
    assert engine.answer([]) == []
    assert list(engine.stream([])) == []


def test_word_pieces_are_answered_even_where_there_are_none(engine):
    assert chances(engine, ["", "good"]).shape == (2, 3)


def test_a_single_string_is_one_text(engine):
    assert engine.predict(TEXTS[0]) == engine.predict([TEXTS[0]])


def test_a_long_text_is_cut_and_says_so(engine):
    short, long = engine.predict(["good " * 46, "good " * 47])
    assert (short.truncated, long.truncated) == (False, True)
    assert max(len(row) for (row,) in engine.features([(text,) for text in TEXTS])) == 48


def test_the_ids_are_those_of_training(engine):
    words = tokenizer()
    expected = [single_label.features([one], None, words, engine.settings, 48) for one in words.encode(TEXTS)]
    found = engine.features([(text,) for text in TEXTS])
    assert [row.ids.tolist() for (row,) in found] == [row.ids.tolist() for (row,) in expected]


@pytest.mark.parametrize("chunk", [1, 3, 40, 41])
def test_stream_in_chunks_is_predict(engine, monkeypatch, chunk):
    monkeypatch.setattr(engine_module, "CHUNK", chunk)
    texts = [*TEXTS[:5], "", *TEXTS[5:]]
    examples = [Example((text,), columns={"n": str(n)}) for n, text in enumerate(texts)]
    found = list(engine.stream(iter(examples)))
    assert [example for example, _ in found] == examples
    for (_, one), other in zip(found, engine.predict(texts), strict=True):
        assert (one.label, one.error, one.truncated) == (other.label, other.error, other.truncated)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_stream_reads_no_further_than_a_chunk(engine, monkeypatch):
    monkeypatch.setattr(engine_module, "CHUNK", 4)
    read = []

    def source():
        for n in range(1000):
            read.append(n)
            yield Example(("good",))

    stream = engine.stream(source())
    next(stream)
    assert len(read) == 4


def test_progress_is_told(engine):
    told = []
    engine.predict(TEXTS, done=told.append)
    assert told[-1] == len(TEXTS)
    assert told == sorted(told)


def test_D13_lone_surrogates_and_specials_are_scored(engine):
    found = engine.predict(["good \ud800", "[SEP]", "[PAD] [MASK]", "x" * 500])
    assert all(one.error is None and sum(one.probabilities) == pytest.approx(1) for one in found)


def test_evaluation_mode_and_no_gradients(engine):
    engine.predict(TEXTS)
    assert not getattr(getattr(engine._scorer, "model", None), "training", False)  # torch's; others never train
    assert np.array_equal(chances(engine, TEXTS), chances(engine, TEXTS))


@pytest.mark.parametrize("random_seed", [0, 1])
def test_scoring_leaves_the_callers_randomness_alone(engine, random_seed):
    torch.manual_seed(random_seed)
    before = torch.get_rng_state()
    engine.predict(TEXTS)
    assert torch.equal(before, torch.get_rng_state())


def test_one_text_is_labelled_without_loading_what_only_training_needs(folder):
    """Twice the time to the first answer went there: torch's compiler came in with its first values for a table."""
    code = f"""
import sys
from filbert.inference.engine import load
print(load({str(folder)!r}, device="cpu").predict("good film")[0].label)
assert not {{"torch._dynamo", "sympy", "pyarrow", "sklearn", "pandas"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in LABELS


@needs_native
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8", "auto"])
def test_in_cpp_a_text_is_labelled_without_torch(wide, precision):
    code = f"""
import sys
from filbert.cli import main
sys.argv = ["filbert", "predict", {str(wide)!r}, "good film", "--precision", {precision!r}, "--device", "cpu"]
try:
    main()
finally:
    assert not {{"torch", "scipy", "sklearn", "pyarrow"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] in LABELS


# -- two texts --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def of_pairs(tmp_path_factory) -> Engine:
    columns = {"inputs": [["premise"], ["hypothesis"]], "target": [["label"]]}
    return load(save(tmp_path_factory.mktemp("pairs") / "model", classifier(), max_length=48, columns=columns))


def test_a_pair_is_two_segments_and_its_order_matters(of_pairs):
    ((row,),) = of_pairs.features([("good film", "bad")])
    assert row.ids.tolist() == [2, 5, 7, 3, 6, 3]
    assert row.segments.tolist() == [0, 0, 0, 0, 1, 1]
    one, other = of_pairs.predict([("good film", "bad"), ("bad", "good film")])
    assert one.probabilities != other.probabilities
    assert of_pairs.pieces(of_pairs.encode([("good film", "bad")])[0]).tolist() == [5, 7, 3, 6]


def test_D10_a_pair_with_an_empty_text_is_not_guessed_at(of_pairs):
    found = of_pairs.predict([("good", " "), ("", "good"), ("good", "bad")])
    assert [one.error for one in found] == [EMPTY, EMPTY, None]


def test_unknown_words_of_either_text_count(of_pairs):
    known, second = of_pairs.predict([("good", "bad"), ("good", "zebra")])
    assert (known.unk_ratio, second.unk_ratio) == (0, 1)
    assert second.unreadable


@pytest.mark.parametrize("given", [["good"], [("good",)], [("good", "bad", "film")]])
def test_what_is_no_pair_is_refused(of_pairs, given):
    with pytest.raises(ConfigError, match="takes a pair of texts"):
        of_pairs.predict(given)
