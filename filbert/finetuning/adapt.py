"""`fit --adapt`: pre-train the base on the task's own texts first, unless a linear probe says that this made it worse.

The pre-training is masked language modelling on the training texts and unlabelled ones (Sun et al. 2019).

Everything is kept in the scratch folder of the run, so that a stopped run goes on where it was:

    adapted.json   data and settings      texts.jsonl   the training texts, as a corpus
    adapted/       the adapted base       probe.json    what the linear probe found
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filbert.bases.find import Base
from filbert.config import PretrainConfig, TrainConfig
from filbert.corpus.prepare import Start
from filbert.data.splits import Splits
from filbert.files import read_json, read_sealed, write_sealed
from filbert.finetuning import probe
from filbert.pretraining.run import pretrain
from filbert.progress import Watcher
from filbert.readers.documents import open_corpus
from filbert.records import IntArray
from filbert.training.checkpoints import ANEW, refuse_changes

ADAPT_SHARE = 0.4  # of --minutes
PROBE_SHARE = 0.05  # of --minutes, out of ADAPT_SHARE, for the linear probe …
TEXTS_A_MINUTE = 100  # … with so many texts a minute: 3 seconds on two cores
IDENTITY, TEXTS, ADAPTED, PROBE = "adapted.json", "texts.jsonl", "adapted", "probe.json"


def adapted(
    base: Base,
    splits: Splits,
    unlabelled: Sequence[str | Path],
    work: Path,
    *,
    classes_N: IntArray,
    config: TrainConfig,
    device: str,
    watch: Watcher,
) -> tuple[Base, dict[str, Any]]:
    """Adapt a base to the training texts and the unlabelled ones → the base to fine-tune, facts for the report.

    `classes_N` are the classes of the training texts, for the linear probe. The base is returned as it was where
    pre-training left its encoder unchanged, or where a linear probe on the adapted encoder is less accurate. What is
    complete in `work` is not repeated. Raises as `pretrain` does, and ConfigError where `work` is of other texts or
    settings.
    """
    folder = work / ADAPTED
    identity = {
        "data": splits.fingerprint,
        "base": base.name,
        "base_sha256": base.sha256,
        "unlabelled": {str(path): open_corpus(path).fingerprint() for path in unlabelled},
        **asdict(config),
    }
    if (work / IDENTITY).is_file():
        refuse_changes(read_sealed(work / IDENTITY, ANEW), identity, work)
    if not (folder / "report.json").is_file():  # the last file that pre-training writes
        work.mkdir(parents=True, exist_ok=True)
        write_sealed(work / IDENTITY, identity)
        _pretrain(base, splits, unlabelled, folder, config=config, device=device, watch=watch)
    report = read_json(folder / "report.json")
    facts = {key: report["training"][key] for key in ("seconds", "tokens", "epochs")}
    facts |= {"scores": report["scores"], "corpora": report["data"]["corpora"], "probe": None}
    kept: bool = report["training"]["encoder_changed"]
    if kept and base.folder is not None:
        if not (work / PROBE).is_file():
            accuracies = _probe(base.folder, folder, (splits, classes_N), config=config, device=device, watch=watch)
            write_sealed(work / PROBE, {"accuracy": accuracies})
        facts["probe"] = read_sealed(work / PROBE, ANEW)["accuracy"]
        kept = facts["probe"] is None or facts["probe"]["after"] >= facts["probe"]["before"]
    facts["kept"] = kept
    return replace(base, name=f"{base.name}, adapted to the texts", folder=folder, size=None) if kept else base, facts


def _pretrain(
    base: Base,
    splits: Splits,
    unlabelled: Sequence[str | Path],
    folder: Path,
    *,
    config: TrainConfig,
    device: str,
    watch: Watcher,
) -> None:
    texts = folder.with_name(TEXTS)
    lines = (json.dumps({"text": "\n".join(example.inputs)}, ensure_ascii=False) for example in splits.train)
    texts.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    start = Start(base=None if base.folder is None else str(base.folder), size=base.size or "mini")
    settings = PretrainConfig(next_sentence=False, seed=config.seed, precision=config.precision)
    if config.minutes is not None:
        settings = replace(settings, minutes=config.minutes * (ADAPT_SHARE - PROBE_SHARE))
    watch.say("adapting the base to the texts: masked language modelling")
    pretrain(
        [texts, *unlabelled],
        folder,
        start=start,
        config=settings,
        leave_out=splits.held_out,
        device=device,
        watch=watch,
    )


def _probe(
    before: Path, after: Path, texts: tuple[Splits, IntArray], *, config: TrainConfig, device: str, watch: Watcher
) -> dict[str, float] | None:
    """Return the accuracy of a linear probe on the base before and after; None where there are too few texts."""
    splits, true_N = texts
    most = probe.MOST if config.minutes is None else min(probe.MOST, int(TEXTS_A_MINUTE * config.minutes))
    chosen_N = probe.sample(true_N, most)
    if chosen_N is None:
        return None
    inputs, accuracies = [splits.train[i].inputs for i in chosen_N], {}
    for when, folder in (("before", before), ("after", after)):
        watch.progress(f"linear probe of the base {when} adaptation", 0, 0)
        accuracies[when] = probe.probe_accuracy(folder, inputs, true_N[chosen_N], device, config.precision)
    used = "adapted" if accuracies["after"] >= accuracies["before"] else "original"
    watch.say(
        f"linear probe on {len(inputs):,} training texts: accuracy {accuracies['after']:.1%} with the adapted base, "
        f"{accuracies['before']:.1%} with the original one; the {used} base is used"
    )
    return accuracies
