"""What `fit --adapt` does first: the base reads the task's own texts, and is used so if it knows no less than before.

Reading is masked language modelling (Sun et al. 2019), pretrain.py's part; probe.py finds out what a base knows.
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
from filbert.files import read_json, write_json
from filbert.finetuning import probe
from filbert.pretraining.run import pretrain
from filbert.progress import Watcher
from filbert.records import IntArray
from filbert.training.loop import refuse_changes

ADAPTING = 0.4  # of --minutes
LOOKING = 0.05  # of --minutes, out of ADAPTING, to find out what the base knows …
TEXTS_A_MINUTE = 100  # … from so many texts: 3 seconds on two cores


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
    """Let a base read the training texts and the unlabelled ones → the base to use, what was done.

    It is the base as it was where reading changed nothing, or where a linear model tells the classes apart worse by the
    vectors of the adapted one. What is finished in `work` is taken as it is. Raises as `pretrain` does, and ConfigError
    where `work` belongs to other texts or settings.
    """
    folder, begun, looked = work / "adapted", work / "adapted.json", work / "told.json"
    identity = {
        "data": splits.fingerprint,
        "base": base.name,
        "unlabelled": [str(path) for path in unlabelled],
        **asdict(config),
    }
    if begun.is_file():
        refuse_changes(read_json(begun), identity, work)
    if not (folder / "report.json").is_file():  # the last thing that pre-training writes
        work.mkdir(parents=True, exist_ok=True)
        write_json(begun, identity)
        _read_texts(base, splits, unlabelled, folder, config=config, device=device, watch=watch)
    report = read_json(folder / "report.json")
    facts = {key: report["training"][key] for key in ("seconds", "tokens", "epochs")}
    facts |= {"scores": report["scores"], "corpora": report["data"]["corpora"], "told": None}
    kept: bool = report["training"]["encoder_changed"]
    if kept and base.folder is not None:
        if not looked.is_file():
            write_json(looked, _told(base.folder, folder, (splits, classes_N), config=config, device=device, watch=watch))
        facts["told"] = read_json(looked)["told"]
        kept = facts["told"] is None or facts["told"]["after"] >= facts["told"]["before"]
    facts["kept"] = kept
    return replace(base, name=f"{base.name}, adapted to the texts", folder=folder, size=None) if kept else base, facts


def _read_texts(
    base: Base,
    splits: Splits,
    unlabelled: Sequence[str | Path],
    folder: Path,
    *,
    config: TrainConfig,
    device: str,
    watch: Watcher,
) -> None:
    texts = folder.with_name("texts.jsonl")
    lines = (json.dumps({"text": "\n".join(example.inputs)}, ensure_ascii=False) for example in splits.train)
    texts.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    start = Start(base=None if base.folder is None else str(base.folder), size=base.size or "mini")
    settings = PretrainConfig(next_sentence=False, seed=config.seed, precision=config.precision)
    if config.minutes is not None:
        settings = replace(settings, minutes=config.minutes * (ADAPTING - LOOKING))
    watch.say("adapting the base to the texts")
    pretrain(
        [texts, *unlabelled],
        folder,
        start=start,
        config=settings,
        leave_out=splits.held_out,
        device=device,
        watch=watch,
    )


def _told(
    before: Path, after: Path, known: tuple[Splits, IntArray], *, config: TrainConfig, device: str, watch: Watcher
) -> dict[str, dict[str, float] | None]:
    """Return the share of training texts whose class a linear model tells by either base; None for too few texts."""
    splits, true_N = known
    most = probe.MOST if config.minutes is None else min(probe.MOST, int(TEXTS_A_MINUTE * config.minutes))
    chosen_N = probe.chosen(true_N, most)
    if chosen_N is None:
        return {"told": None}
    texts, shares = [splits.train[i].inputs for i in chosen_N], {}
    for when, folder in (("before", before), ("after", after)):
        watch.progress(f"looking at the base {when} it was adapted", 0, 0)
        shares[when] = probe.knows(folder, texts, true_N[chosen_N], device, config.precision)
    used = "adapted" if shares["after"] >= shares["before"] else "as it was"
    watch.say(
        f"a linear model on it tells the classes of {shares['after']:.1%} of {len(texts):,} texts, "
        f"{shares['before']:.1%} before it was adapted: the base {used} is used"
    )
    return {"told": shares}
