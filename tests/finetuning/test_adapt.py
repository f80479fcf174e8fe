"""`fit --adapt`: the base reads the training texts first, is used where it knows no less, and a stopped run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import films
import numpy as np
import pytest
from films import CONFIG, WHOLE, examples, run
from safetensors.torch import load_file
from small import same_weights

from filbert.errors import ConfigError, Stopped
from filbert.finetuning import adapt as adaptation
from filbert.finetuning import probe
from filbert.progress import Silent
from filbert.readers.documents import open_corpus


@pytest.fixture
def finished() -> Path:
    return films.finished()


def test_adapt_reads_the_training_texts_and_the_unlabelled_ones_and_no_others(tmp_path, monkeypatch):
    read: list[str] = []
    inner = adaptation.pretrain

    def spy(corpora, folder, **options):
        sources = [open_corpus(path, leave_out=options["leave_out"]) for path in corpora]
        read.extend(text for corpus in sources for document in corpus.documents() for text in document.paragraphs)
        return inner(corpora, folder, **options)

    monkeypatch.setattr(adaptation, "pretrain", spy)
    more = tmp_path / "more.txt"
    data = films.data()
    held_out = data.splits.held_out
    more.write_text("\n\n".join([*(f"a film with the story number {n} and actor" for n in range(40)), *held_out]))
    done = run(tmp_path / "run", data=data, adapt=True, unlabelled=[more])
    everything = "\n".join(read)
    assert all(example.text in everything for example in data.splits.train)
    assert "story number 39" in everything
    assert not any(text in read for text in held_out)
    told = done.report["adaptation"]
    assert told["tokens"] > 0
    assert {each["corpus"] for each in told["corpora"]} == {"texts.jsonl", "more.txt"}
    assert done.report["model"]["base"] == "tiny, adapted to the texts"
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(WHOLE)


@pytest.mark.parametrize("better", [True, False])
def test_a_base_that_knows_less_when_adapted_is_used_as_it_was(finished, tmp_path, monkeypatch, better):
    told: list[str] = []

    class Listening(Silent):
        def say(self, text: str) -> None:
            told.append(text)

    wanted = {"before": 0.5, "after": 0.6} if better else {"before": 0.6, "after": 0.5}
    shares = iter(wanted.values())
    monkeypatch.setattr(probe, "FEWEST", 50)
    monkeypatch.setattr(probe, "cross_validated_accuracy", lambda means_ND, true_N: next(shares))
    done = run(tmp_path / "run", base=str(finished), adapt=True, watch=Listening())
    assert done.report["adaptation"]["kept"] == better
    assert done.report["model"]["base"].endswith("adapted to the texts") == better
    assert done.report["adaptation"]["probe"] == wanted
    assert f"the {'adapted' if better else 'original'} base is used" in " ".join(told)


def test_what_a_base_knows_is_told_from_vectors_alone(finished):
    texts = [example.inputs for example in examples(200, 3)]
    true_N = np.tile([0, 1], 100).astype(np.int32)
    assert probe.probe_accuracy(finished, texts, true_N, precision="fp32") > 0.9
    assert probe.probe_accuracy(finished, texts, np.random.default_rng(0).permutation(true_N), precision="fp32") < 0.65


def test_T21_texts_without_labels_that_nothing_would_read_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="for --adapt and --cascade"):
        run(tmp_path / "run", unlabelled=[tmp_path / "more.txt"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stage", ["adapting", "fitting"])
def test_T18_an_adapted_run_is_taken_up_in_either_stage(tmp_path, stage):
    whole = run(tmp_path / "whole", adapt=True)

    class Stop(Silent):
        steps, adapted = 0, False

        def say(self, text: str) -> None:
            self.adapted |= text.startswith("evaluating on held-out")

        def progress(self, name: str, done: float, total: float, **figures: float) -> None:
            if name == "training" and self.adapted == (stage == "fitting"):
                self.steps += 1
                if self.steps == 4:
                    os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        run(tmp_path / "again", adapt=True, watch=Stop())
    again = run(tmp_path / "again", adapt=True)
    weights = [load_file(done.folder / "model.safetensors") for done in (whole, again)]
    assert same_weights(*weights)


def test_T21_an_adaptation_to_other_texts_is_not_taken_up(tmp_path):
    class Stop(Silent):
        def say(self, text: str) -> None:
            if text.startswith("evaluating on held-out"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", adapt=True, watch=Stop())
    more = tmp_path / "more.txt"
    more.write_text("a film\n\nand a story\n")
    with pytest.raises(ConfigError, match="unlabelled"):
        run(tmp_path / "run", adapt=True, unlabelled=[more])
    with pytest.raises(ConfigError, match="seed: 0 → 1"):
        run(tmp_path / "run", adapt=True, config=CONFIG.with_options(seed=1))
    assert run(tmp_path / "run", adapt=True).report["adaptation"]["tokens"] > 0


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from films import CONFIG, run
from filbert.finetuning import probe
from filbert.progress import Silent
class Killed(Silent):
    def say(self, text):
        if text.startswith("validation"):
            self.after_probe = (out / "checkpoints" / "probe.json").is_file()
            if self.after_probe: os.kill(os.getpid(), 9)
probe.FEWEST = 40
out = Path(sys.argv[1])
run(out, base=sys.argv[2], adapt=True, watch=Killed())
"""


@pytest.mark.slow
def test_T15_killed_after_the_linear_probe_and_resumed_is_the_whole_run(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "FEWEST", 40)
    whole = run(tmp_path / "whole", base=str(finished), adapt=True)
    assert whole.report["adaptation"]["probe"] is not None
    code = KILLED.format(tests=str(Path(__file__).parents[1]))
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path / "again"), str(finished)], capture_output=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    assert (tmp_path / "again" / "checkpoints" / "probe.json").is_file()
    again = run(tmp_path / "again", base=str(finished), adapt=True)
    assert same_weights(*(load_file(done.folder / "model.safetensors") for done in (whole, again)))
