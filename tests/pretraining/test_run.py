"""From raw text to a base model: what a run learns, writes and reports, on random weights and on a base."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrainings import CONFIG, corpus, logged, run
from safetensors.torch import load_file
from small import save

from filbert.bases.load import load_base
from filbert.corpus.prepare import Start
from filbert.errors import ConfigError
from filbert.folder.check import check_folder
from filbert.model.encoder import Encoder
from filbert.model.head import Head
from filbert.model.network import Network
from filbert.pretraining.fill_mask import fill_mask, next_sentence_probability
from filbert.pretraining.folder import load_pretrained
from filbert.pretraining.run import pretrain
from filbert.progress import Silent
from filbert.report.figures import amount


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, corpus(folder))
    return folder


def test_a_run_learns_and_says_what_it_did(whole):
    report = json.loads((whole / "out" / "report.json").read_text())
    losses = [row["mlm_loss"] for row in logged(whole) if "mlm_loss" in row]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])  # which the frequencies alone give
    assert {"mlm_accuracy", "mlm_perplexity", "nsp_accuracy", "pseudo_perplexity"} == report["scores"].keys()
    for score in report["scores"].values():
        assert score["low"] <= score["value"] <= score["high"]
    assert report["training"]["steps"] == len(losses)
    assert report["data"]["corpora"][0]["documents"] == 60
    assert not (whole / "out" / "checkpoints").exists()
    assert (whole / "out" / "report.html").is_file()
    assert (whole / "out" / "README.md").is_file()


def test_word_vectors_and_frequencies_are_a_better_start_than_random_weights(whole, tmp_path):
    """The loss of the first step: the other weights are initialised alike."""
    random_start = Start(size="tiny", vocabulary_size=120, random_init=True)
    pretrain([corpus(tmp_path)], tmp_path / "out", start=random_start, config=CONFIG)
    informed, random = (next(row for row in logged(folder) if "mlm_loss" in row) for folder in (whole, tmp_path))
    assert informed["mlm_loss"] < random["mlm_loss"] - 0.5


def test_the_folder_is_a_base_with_its_heads(whole):
    check_folder(whole / "out")
    encoder, _, heads = load_base(whole / "out")
    assert encoder.config.dropout == 0.1
    assert "pooler.dense.weight" in heads
    known = load_pretrained(whole / "out")
    assert known.heads == {"mlm", "nsp", "pooler"}
    found = fill_mask(known, "river [MASK] river house house [MASK].")
    assert len(found) == 2
    assert 0 < found[0].tokens[0][1] <= 1
    assert "[MASK]" in found[0].text
    assert found[1].text.startswith("river [MASK] river house house ")
    assert 0 < next_sentence_probability(known, "river house", "river stone") < 1
    with pytest.raises(ConfigError, match="no \\[MASK\\]"):
        fill_mask(known, "river")


def test_a_deadline_ends_the_run_and_does_not_multiply_the_validations(tmp_path):
    config = CONFIG.with_options(minutes=1 / 20)
    report = run(tmp_path, corpus(tmp_path), replace(config, epochs=None)).report
    assert "deadline" in report["training"]["stopped"]
    assert report["training"]["config"]["epochs"] is None
    assert 1 <= len([row for row in logged(tmp_path) if "validation" in row]) <= 21


def test_without_pairs_the_next_sentence_head_is_not_trained(tmp_path):
    config = CONFIG.with_options(next_sentence=False, epochs=1)
    report = run(tmp_path, corpus(tmp_path), config).report
    assert "nsp_accuracy" not in report["scores"]
    assert not any("nsp_loss" in row for row in logged(tmp_path))


def test_a_base_keeps_its_vocabulary_and_goes_on_from_its_weights(whole, tmp_path):
    start = Start(base=str(whole / "out"))
    config = CONFIG.with_options(epochs=1, learning_rate=1e-4)
    report = pretrain([corpus(tmp_path)], tmp_path / "on", start=start, config=config).report
    before, after = load_file(whole / "out" / "model.safetensors"), load_file(tmp_path / "on" / "model.safetensors")
    assert before.keys() == after.keys()
    for name in before:
        moved = (after[name] - before[name]).abs().max()
        assert moved < 0.05, name
    assert report["scores"]["mlm_perplexity"]["value"] < 30
    vocabularies = [(folder / "vocab.txt").read_text() for folder in (whole / "out", tmp_path / "on")]
    assert vocabularies[0] == vocabularies[1]
    first = json.loads((whole / "out" / "report.json").read_text())["training"]["tokens"]
    assert report["training"]["tokens_before"] == first
    assert f"after {amount(first)} of its base" in (tmp_path / "on" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("rate", "learns"), [(1e-3, True), (0.3, False)])
def test_a_base_without_heads_starts_from_the_frequencies_of_the_tokens(tmp_path, rate, learns):
    """As with sentence encoders: the loss of a random head would be 4.8 nats, and its gradients damage the encoder.

    An encoder whose loss is lowest before it is trained itself is left as it was, and that is said.
    """
    base, random_start = tmp_path / "base", Start(size="tiny", vocabulary_size=120, random_init=True)
    pretrain([corpus(tmp_path)], tmp_path / "random", start=random_start, config=CONFIG)
    encoder, tokenizer, _ = load_base(tmp_path / "random")
    save(base, Network(encoder, Head(outputs=2)), ("no", "yes"), tokenizer)
    said: list[str] = []

    class Said(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    source = corpus(tmp_path)
    config = CONFIG.with_options(epochs=8, learning_rate=rate, next_sentence=False)
    done = pretrain([source], tmp_path / "out", start=Start(base=str(base)), config=config, watch=Said())
    assert any("no masked language modelling head" in line for line in said)
    counts = Counter(id for one in tokenizer.encode(source.read_text().split("\n")) for id in one.ids.tolist())
    share = np.array([count / counts.total() for count in counts.values()])
    first = next(row["loss"] for row in logged(tmp_path))
    assert first == pytest.approx(-(share * np.log(share)).sum(), abs=0.3)
    after = load_base(tmp_path / "out")[0].state_dict()
    moved = max(float((after[name] - weight).abs().max()) for name, weight in encoder.state_dict().items())
    assert (moved > 0) == learns
    assert done.report["training"]["encoder_changed"] == learns
    assert any("is the base's, unchanged" in line for line in said) != learns


def test_a_deadline_allows_ten_passes_over_the_texts_of_a_base_at_most(whole, tmp_path):
    config = replace(CONFIG, epochs=None, minutes=5.0)
    report = pretrain([corpus(tmp_path)], tmp_path / "on", start=Start(base=str(whole / "out")), config=config).report
    assert report["training"]["epochs"] == 10


def test_a_base_with_more_embeddings_than_tokens_gets_a_head_of_as_many(whole, tmp_path):
    """An embedding table padded to a round number: the bias has as many entries as the table, not as the vocabulary."""
    encoder, tokenizer, _ = load_base(whole / "out")
    more = -len(tokenizer) % 64
    assert more
    table = torch.cat([encoder.embeddings.token.weight.detach(), torch.zeros(more, encoder.config.hidden)])
    padded = Encoder(replace(encoder.config, vocab_size=len(table)), initialised=False)
    padded.load_state_dict({**encoder.state_dict(), "embeddings.token.weight": table})
    save(tmp_path / "base", Network(padded, Head(outputs=2)), ("no", "yes"), tokenizer)
    config = CONFIG.with_options(epochs=1, next_sentence=False)
    pretrain([corpus(tmp_path)], tmp_path / "out", start=Start(base=str(tmp_path / "base")), config=config)
    assert load_pretrained(tmp_path / "out").model.bias.shape == (len(table),)


def test_steps_are_smaller_on_a_base(whole, tmp_path):
    config = CONFIG.with_options(epochs=1)
    config = replace(config, batch_tokens=None)
    run(tmp_path / "new", corpus(tmp_path, 400), config)
    pretrain([corpus(tmp_path, 400)], tmp_path / "on" / "out", start=Start(base=str(whole / "out")), config=config)
    new, on = (json.loads((tmp_path / name / "out" / "report.json").read_text())["training"] for name in ("new", "on"))
    assert (new["config"]["batch_tokens"], on["config"]["batch_tokens"]) == (16_384, 4_096)
    assert on["steps"] > new["steps"]


def test_corpora_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no corpus"):
        pretrain([], tmp_path / "out")
    with pytest.raises(ConfigError, match="one document"):
        run(tmp_path, corpus(tmp_path, documents=1))
    with pytest.raises(ConfigError, match="2 weights for 1"):
        pretrain([corpus(tmp_path)], tmp_path / "out", weights=[1.0, 2.0])
