"""A base that is replaced between stop and resume is noticed by its content, in the weights and in the tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_files import change_weights, seal
from small import LABELS, classifier, save

from filbert import tasks
from filbert.config import TrainConfig
from filbert.errors import ConfigError
from filbert.finetuning.dataset import dataset_of
from filbert.finetuning.fit import fit
from filbert.progress import Silent
from filbert.training import loop

CONFIG = TrainConfig(epochs=2, batch_size=8, precision="fp32")


class Power(Silent):
    """Fails after the first validation, when there is a checkpoint."""

    def say(self, text: str) -> None:
        if text.startswith("validation after"):
            raise RuntimeError("the power fails")


def weights(base: Path) -> None:
    change_weights(base, **{"bert.pooler.dense.bias": torch.full((8,), 0.5)})


def tokenizer(base: Path) -> None:
    words = (base / "vocab.txt").read_text("utf-8").splitlines()
    words[-1] = "changed"
    (base / "vocab.txt").write_text("\n".join(words) + "\n", "utf-8")
    seal(base)


@pytest.mark.parametrize("replace", [weights, tokenizer])
def test_T21_a_base_replaced_between_stop_and_resume_is_refused(tmp_path, monkeypatch, replace):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    base = save(tmp_path / "base", classifier(), LABELS)
    data = dataset_of([(f"text {n}",) for n in range(40)], ["a", "b"] * 20, tasks.named("single-label"))

    def run(**more: object) -> None:
        fit(data, tmp_path / "run", base=str(base), config=CONFIG, compare=False, **more)

    with pytest.raises(RuntimeError, match="the power fails"):
        run(watch=Power())
    kept = {path: path.read_bytes() for path in base.iterdir()}
    replace(base)
    with pytest.raises(ConfigError, match=r"unfinished run with other settings .*base_sha256"):
        run()
    for path, content in kept.items():
        path.write_bytes(content)
    run()
