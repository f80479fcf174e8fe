"""From raw text to a pre-trained folder: a tiny model, killed and resumed, alone and in two processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import same_weights

from filbert.bases.find import find_base
from filbert.bases.load import load_base
from filbert.config import PretrainConfig
from filbert.corpus.prepare import Start
from filbert.errors import ConfigError
from filbert.folder.check import check_folder
from filbert.folder.save import save_model
from filbert.model.encoder import Encoder
from filbert.model.network import Classifier
from filbert.pretraining.fill_mask import fill, follows
from filbert.pretraining.folder import load_pretrained
from filbert.pretraining.job import CorpusFeed
from filbert.pretraining.run import pretrain
from filbert.progress import Silent
from filbert.readers.documents import open_corpus
from filbert.report.words import amount
from filbert.training import loop as train
from filbert.training.loop import Interrupted

CONFIG = PretrainConfig(
    epochs=2, batch_tokens=512, tokens_per_batch=256, length=32, long_length=64, precision="fp32", learning_rate=3e-3
)
START = Start(size="tiny", vocabulary_size=120)


def corpus(folder: Path, documents: int = 60, name: str = "wiki.txt") -> Path:
    """Documents that each repeat three words of their own."""
    random = np.random.default_rng(0)
    words = ["river", "house", "stone", "green", "night", "bread", "music", "winter", "paper", "glass"]
    lines = []
    for _ in range(documents):
        own = random.choice(words, 3, replace=False)
        lines += [" ".join(random.choice(own, 6)) + "." for _ in range(8)] + [""]
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def run(folder: Path, source: Path, config: PretrainConfig = CONFIG, **options: Any) -> Any:
    return pretrain([source], folder / "out", start=START, config=config, **options)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "out" / "model.safetensors")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("whole")
    run(folder, corpus(folder))
    return folder


def logged(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "out" / "train.jsonl").read_text().splitlines()]


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


def test_a_start_that_counted_knows_more_than_a_random_one(whole, tmp_path):
    """The tokens' frequencies and neighbours, before the first step; the rest of the weights are drawn alike."""
    drawn = Start(size="tiny", vocabulary_size=120, drawn=True)
    pretrain([corpus(tmp_path)], tmp_path / "out", start=drawn, config=CONFIG)
    counted, random = (next(row for row in logged(folder) if "mlm_loss" in row) for folder in (whole, tmp_path))
    assert counted["mlm_loss"] < random["mlm_loss"] - 0.5


def test_the_folder_is_a_base_with_its_heads(whole):
    check_folder(whole / "out")
    encoder, _, heads = load_base(whole / "out")
    assert encoder.config.dropout == 0.1
    assert "pooler.dense.weight" in heads
    known = load_pretrained(whole / "out")
    assert known.has == {"mlm", "nsp", "pooler"}
    found = fill(known, "river [MASK] river house house [MASK].")
    assert len(found) == 2
    assert 0 < found[0].tokens[0][1] <= 1
    assert "[MASK]" in found[0].text
    assert found[1].text.startswith("river [MASK] river house house ")
    assert 0 < follows(known, "river house", "river stone") < 1
    with pytest.raises(ConfigError, match="no \\[MASK\\]"):
        fill(known, "river")


class Stop:
    """A watcher that kills the run when the training bar has been drawn a number of times."""

    def __init__(self, after: int) -> None:
        self.after = after

    def say(self, text: str) -> None: ...

    def progress(self, stage: str, done: float, total: float, **figures: float) -> None:
        if stage == "training":
            self.after -= 1
            if self.after == 0:
                os.kill(os.getpid(), signal.SIGTERM)


class Break(Stop):
    """A watcher that breaks off when a line is said."""

    def __init__(self, line: str) -> None:
        super().__init__(0)
        self.line = line

    def say(self, text: str) -> None:
        if text.startswith(self.line):
            raise KeyboardInterrupt


@pytest.mark.parametrize("line", ["learning a vocabulary", "wiki.txt: ", "model saved", "measuring on held-out"])
def test_T18_broken_off_outside_of_training(whole, tmp_path, line):
    source = corpus(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source, watch=Break(line))
    run(tmp_path, source)
    assert same_weights(weights(tmp_path), weights(whole))
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_deadline_ends_the_run_and_does_not_multiply_the_validations(tmp_path):
    config = CONFIG.with_options(minutes=1 / 20)
    report = run(tmp_path, corpus(tmp_path), replace(config, epochs=None)).report
    assert "deadline" in report["training"]["stopped"]
    assert report["training"]["config"]["epochs"] is None
    assert 1 <= len([row for row in logged(tmp_path) if "validation" in row]) <= 21


@pytest.mark.parametrize(
    "changes", [{"vocabulary_size": 130}, {"position": "sinusoidal"}, {"size": "mini"}, {"drawn": True}]
)
def test_T21_another_start_is_refused(tmp_path, changes):
    source = corpus(tmp_path)
    with pytest.raises(Interrupted):
        run(tmp_path, source, watch=Stop(3))
    with pytest.raises(ConfigError, match="start: "):
        pretrain([source], tmp_path / "out", start=replace(START, **changes), config=CONFIG)


@pytest.mark.parametrize("step", [1, 7, 12])
def test_T18_stopped_and_resumed_is_the_whole_run(whole, tmp_path, step):
    source = corpus(tmp_path)
    with pytest.raises(Interrupted):
        run(tmp_path, source, watch=Stop(step))
    assert not (tmp_path / "out" / "model.safetensors").exists()
    run(tmp_path, source)
    assert same_weights(weights(tmp_path), weights(whole))
    steps = [row["step"] for row in logged(tmp_path) if "mlm_loss" in row]
    assert steps == list(range(1, len(steps) + 1))


def test_muon_trains_and_resumes_exactly(tmp_path):
    config = CONFIG.with_options(optimizer="muon", epochs=1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    source = corpus(tmp_path)
    run(tmp_path / "a", source, config)
    with pytest.raises(Interrupted):
        run(tmp_path / "b", source, config, watch=Stop(5))
    run(tmp_path / "b", source, config)
    assert same_weights(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert find_base(str(tmp_path / "a" / "out")).optimizer == "muon"  # what fit and adapt go on with


def test_T21_other_settings_are_refused(tmp_path):
    source = corpus(tmp_path)
    with pytest.raises(Interrupted):
        run(tmp_path, source, watch=Stop(3))
    with pytest.raises(ConfigError, match=r"mask_rate: 0\.15 → 0\.3"):
        run(tmp_path, source, CONFIG.with_options(mask_rate=0.3))
    corpus(tmp_path, documents=61)
    with pytest.raises(ConfigError, match="corpus"):
        run(tmp_path, source)


def test_without_pairs_the_next_sentence_head_is_not_trained(tmp_path):
    config = CONFIG.with_options(next_sentence=False, epochs=1)
    report = run(tmp_path, corpus(tmp_path), config).report
    assert "nsp_accuracy" not in report["scores"]
    assert not any("nsp_loss" in row for row in logged(tmp_path))


def test_a_base_is_taken_on_with_its_words_and_weights(whole, tmp_path):
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
    assert f"after {amount(first)} that its base saw" in (tmp_path / "on" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(("rate", "learns"), [(1e-3, True), (0.3, False)])
def test_a_base_without_heads_begins_with_how_often_each_token_stands_there(tmp_path, rate, learns):
    """As with sentence encoders: a head that knows nothing would cost 4.8 nats, all of them the encoder's to bear.

    A base that gains nothing, once the head alone has learned, is left as it was, and that is said.
    """
    base, drawn = tmp_path / "base", Start(size="tiny", vocabulary_size=120, drawn=True)
    pretrain([corpus(tmp_path)], tmp_path / "drawn", start=drawn, config=CONFIG)
    encoder, tokenizer, _ = load_base(tmp_path / "drawn")
    save_model(base, Classifier(encoder, 2), tokenizer, ("no", "yes"), {"max_length": 64})
    said: list[str] = []

    class Told(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    source = corpus(tmp_path)
    config = CONFIG.with_options(epochs=8, learning_rate=rate, next_sentence=False)
    done = pretrain([source], tmp_path / "out", start=Start(base=str(base)), config=config, watch=Told())
    assert any("no head for masked tokens" in line for line in said)
    counts = Counter(id for one in tokenizer.encode(source.read_text().split("\n")) for id in one.ids.tolist())
    share = np.array([count / counts.total() for count in counts.values()])
    first = next(row["loss"] for row in logged(tmp_path))
    assert first == pytest.approx(-(share * np.log(share)).sum(), abs=0.3)
    after = load_base(tmp_path / "out")[0].state_dict()
    moved = max(float((after[name] - weight).abs().max()) for name, weight in encoder.state_dict().items())
    assert (moved > 0) == learns
    assert done.report["training"]["encoder_changed"] == learns
    assert any("stays as it was" in line for line in said) != learns


def test_a_clock_lets_no_base_read_its_texts_hundreds_of_times(whole, tmp_path):
    config = replace(CONFIG, epochs=None, minutes=5.0)
    report = pretrain([corpus(tmp_path)], tmp_path / "on", start=Start(base=str(whole / "out")), config=config).report
    assert report["training"]["epochs"] == 10


def test_a_base_whose_table_has_rows_to_spare_gets_a_head_too(whole, tmp_path):
    """A table padded to a round number: the head has as many rows as the table, not as the vocabulary."""
    encoder, tokenizer, _ = load_base(whole / "out")
    table = torch.cat([encoder.embeddings.token.weight.detach(), torch.zeros(8, encoder.config.hidden)])
    padded = Encoder(replace(encoder.config, vocab_size=len(table)), filled=False)
    padded.load_state_dict({**encoder.state_dict(), "embeddings.token.weight": table})
    save_model(tmp_path / "base", Classifier(padded, 2), tokenizer, ("no", "yes"), {"max_length": 64})
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


def test_an_even_share_of_the_steps_reads_longer_texts(tmp_path):
    from filbert.corpus.pool import Pool
    from filbert.corpus.shards import write_shards
    from filbert.progress import Silent
    from filbert.text.sentences import split
    from filbert.text.vocab import learn

    source = corpus(tmp_path)
    opened = open_corpus(source)
    tokenizer = learn([p for d in opened.documents() for p in d.paragraphs], 120)
    shards = write_shards(opened, tmp_path / "shards", tokenizer=tokenizer, sentences=split, watch=Silent())
    feed = CorpusFeed(Pool([shards]), CONFIG.with_options(long_share=0.25), tokenizer)
    longest = [max(np.diff(batch.starts_B).max() for batch in feed.batches(i, 0.0)) for i in range(feed.steps)]
    assert feed.steps >= 8
    assert [tokens > 32 for tokens in longest] == [i % 4 == 3 for i in range(feed.steps)]
    assert max(longest) <= 64
    for share, length in ((0.0, 32), (0.9999, 64)):
        feed = CorpusFeed(Pool([shards]), CONFIG.with_options(long_share=share), tokenizer)
        begin = 0 if share == 0 else feed.steps  # with nearly all of them long, the first step alone is not
        steps = [feed.batches(begin + i, 0.0) for i in range(feed.steps)]
        planned = feed.pool.plan(length, pairs=True, seed=0, epoch=begin // feed.steps)
        assert sum(len(batch.order_B) for step in steps for batch in step) == len(planned)
        tokens = [sum(len(batch.ids_T) for batch in step) for step in steps]
        assert max(tokens) - min(tokens) <= 3 * length


def test_an_epoch_in_portions_reads_every_text_once_and_keeps_one_plan(tmp_path, monkeypatch):
    from filbert.corpus.pool import Pool
    from filbert.corpus.shards import write_shards
    from filbert.pretraining import job as pretrain_job
    from filbert.progress import Silent
    from filbert.text.sentences import split
    from filbert.text.vocab import learn

    opened = open_corpus(corpus(tmp_path))
    tokenizer = learn([p for d in opened.documents() for p in d.paragraphs], 120)
    pool = Pool([write_shards(opened, tmp_path / "shards", tokenizer=tokenizer, sentences=split, watch=Silent())])
    config = replace(CONFIG, next_sentence=False, long_share=0.0)
    whole = CorpusFeed(pool, config, tokenizer)
    monkeypatch.setattr(pretrain_job, "PORTION", pool.tokens() // 3)
    feed = CorpusFeed(pool, config, tokenizer)
    assert feed.portions in (3, 4)
    assert pool.documents == 59
    monkeypatch.setattr(pretrain_job, "DOCUMENTS", 40)
    assert CorpusFeed(pool, config, tokenizer).portions == 1  # few documents, however long
    assert feed.tokens == pytest.approx(whole.tokens, rel=0.2)
    for epoch in range(2):
        seen: list[tuple[int, ...]] = []
        for step in range(epoch * feed.steps, (epoch + 1) * feed.steps):
            rows = feed.rows(step, 0.0)
            assert len(feed._plans) == 1
            ((rows_N5, _),) = feed._plans.values()
            seen += map(tuple, rows_N5[rows].tolist())
        assert sorted(seen) == sorted(map(tuple, pool.plan(32, pairs=False, seed=config.seed, epoch=epoch).tolist()))


def test_corpora_that_hold_nothing_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no corpus"):
        pretrain([], tmp_path / "out")
    with pytest.raises(ConfigError, match="one document"):
        run(tmp_path, corpus(tmp_path, documents=1))
    with pytest.raises(ConfigError, match="2 weights for 1"):
        pretrain([corpus(tmp_path)], tmp_path / "out", weights=[1.0, 2.0])


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_pretraining import CONFIG, run
from filbert.training import loop as train
from filbert.progress import Silent
train.CHECKPOINT_SECONDS = 0.0
class Slow(Silent):
    def progress(self, *rest, **figures):
        time.sleep(0.05)
folder = Path(sys.argv[1])
run(folder, folder / "wiki.txt", CONFIG.with_options(optimizer=sys.argv[2]), watch=Slow())
"""


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_T15_killed_and_called_again_is_the_run_nobody_killed(tmp_path, optimizer):
    config = CONFIG.with_options(optimizer=optimizer)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        corpus(tmp_path / name)
    run(tmp_path / "whole", tmp_path / "whole" / "wiki.txt", config)
    code = KILLED.format(tests=str(Path(__file__).parent))
    at = tmp_path / "killed" / "out" / "checkpoints" / "step-00000005.json"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed"), optimizer]) as child:
        ends = time.monotonic() + 240
        while child.poll() is None and not at.exists() and time.monotonic() < ends:
            time.sleep(0.01)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "out" / "model.safetensors").exists()
    told: list[str] = []
    watch = Silent()
    watch.say = told.append  # type: ignore[method-assign]
    run(tmp_path / "killed", tmp_path / "killed" / "wiki.txt", config, watch=watch)
    assert any(line.startswith("resumed at step") for line in told)
    assert same_weights(weights(tmp_path / "killed"), weights(tmp_path / "whole"))


TWO = """
import sys, json
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_pretraining import CONFIG, corpus, run
import torch
torch.set_num_threads(1)
folder = Path(sys.argv[1])
run(folder, folder / "wiki.txt", CONFIG)
"""


def two_processes(script: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    with socket.socket() as probe:  # a port that is free now
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    return subprocess.run(
        [*command, "--master-port", str(port), str(script), str(folder)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_two_processes_follow_the_curve_of_one(whole, tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO.format(tests=str(Path(__file__).parent)))
    corpus(tmp_path)
    ran = two_processes(script, tmp_path)
    assert ran.returncode == 0, ran.stderr
    one, two = ([row for row in logged(folder) if "mlm_loss" in row] for folder in (whole, tmp_path))
    assert len(one) == len(two)
    assert two[0]["gradient_norm"] == pytest.approx(one[0]["gradient_norm"], rel=1e-3)  # summed, not averaged twice
    assert two[0]["mlm_loss"] == pytest.approx(one[0]["mlm_loss"], abs=1e-4)
    for a, b in zip(one, two, strict=True):
        assert b["mlm_loss"] == pytest.approx(a["mlm_loss"], abs=0.02)
        assert b["nsp_loss"] == pytest.approx(a["nsp_loss"], abs=0.02)
    first, second = weights(whole), weights(tmp_path)
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 0.05


DIES = (
    TWO.replace(
        "folder =",
        """
class Die:
    def say(self, text): ...
    def progress(self, stage, done, total, **figures):
        if stage == "training" and done > 0.3: os._exit(9)
folder =""",
    )
    .replace("CONFIG)", "CONFIG, watch=Die())")
    .replace("import sys, json", "import os, sys, json")
)


def test_T23_a_process_that_dies_ends_the_run_and_the_run_goes_on_later(whole, tmp_path):
    script = tmp_path / "two.py"
    corpus(tmp_path)
    script.write_text(DIES.format(tests=str(Path(__file__).parent)))
    began = time.monotonic()
    assert two_processes(script, tmp_path).returncode != 0
    assert time.monotonic() - began < 60
    script.write_text(TWO.format(tests=str(Path(__file__).parent)))
    ran = two_processes(script, tmp_path)
    assert ran.returncode == 0, ran.stderr
    first, second = weights(whole), weights(tmp_path)
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 0.05


def test_checkpoints_come_by_the_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(Interrupted):
        run(tmp_path, corpus(tmp_path), watch=Stop(4))
    names = sorted(path.name for path in (tmp_path / "out" / "checkpoints").glob("step-*.json"))
    assert names == ["step-00000003.json", "step-00000004.json"]
