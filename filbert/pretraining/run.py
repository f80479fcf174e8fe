"""Pre-train a BERT on raw text: the steps of `filbert pretrain` and `filbert adapt`, in order.

    corpora → vocabulary → shards → prepare → train → save → evaluate what was saved → report

A run starts from random weights, or from a base model (domain-adaptive pre-training, Gururangan et al. 2020).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from filbert.bases.find import find_base
from filbert.config import PretrainConfig
from filbert.corpus.pool import Pool
from filbert.corpus.prepare import TOKENIZER, Start, corpus_folder, initial_vectors, shards_of, tokenizer_of
from filbert.corpus.shards import open_shards
from filbert.errors import ConfigError, ModelError, counted
from filbert.files import read_json, read_sealed, write_json, write_sealed
from filbert.folder.claim import claim, delete_scratch, locked, refuse_taken
from filbert.model.device import best_device
from filbert.owned import SCRATCH
from filbert.pretraining.card import KIND
from filbert.pretraining.facts import report_facts
from filbert.pretraining.folder import save_pretrained
from filbert.pretraining.train import Run, Settings, prepare
from filbert.progress import Silent, Watcher
from filbert.readers.documents import open_corpus
from filbert.report import write_report
from filbert.text.chinese import word_starts
from filbert.text.tokenizer import Tokenizer
from filbert.training.checkpoints import ANEW, refuse_changes
from filbert.training.distributed import local_device, process_group
from filbert.training.job import Trained
from filbert.training.plan import Plan
from filbert.training.tracking import check_trackers
from filbert.version import versions

BATCH_TOKENS, BATCH_TOKENS_ON_BASE = 16_384, 4_096  # of a step, by default
RUN = "run.json"  # the settings of the run that the vocabulary and shards beside it belong to
READY = "ready.json"  # tells the other processes of a run that vocabulary and shards are complete


@dataclass(frozen=True)
class PretrainingResult:
    """A finished run: its folder and the content of report.json."""

    folder: Path
    report: dict[str, Any]


def pretrain(
    corpora: Sequence[str | Path],
    out: Path,
    *,
    start: Start | None = None,
    config: PretrainConfig | None = None,
    weights: Sequence[float] | None = None,
    leave_out: Sequence[str] = (),
    device: str | None = None,
    overwrite: bool = False,
    track: Sequence[str] = (),
    half: bool = False,
    licence: str | None = None,
    command: str = "",
    watch: Watcher | None = None,
) -> PretrainingResult:
    """Pre-train on corpora and write a run folder at `out`, which `fit --base` and `transformers` open.

    `weights` say how often an epoch reads each corpus. Texts in `leave_out` are left out of the corpora, as a model
    will be tested on them. `half` writes the model in bf16; `licence` is of the texts, for the model card. The same
    call resumes a stopped run; a finished model is replaced only with `overwrite`. Raises DataError,
    ConfigError, ModelError or TrainingError.
    """
    watch, start, config = watch or Silent(), start or Start(), config or PretrainConfig()
    device = local_device(best_device(device))
    weights = list(weights or [1.0] * len(corpora))
    if config.batch_tokens is None:
        default = BATCH_TOKENS if start.base is None else BATCH_TOKENS_ON_BASE
        config = replace(config, batch_tokens=max(default, config.length, config.long_length))
    _check(corpora, weights, start, config, track=track)
    if config.optimizer == "auto":
        config = replace(config, optimizer=find_base(start.base or start.size).optimizer)
    with process_group(device) as group:
        run_id = group.all_sum([random.random() if group.is_main else 0.0])[0]  # the same in all processes
        settings = Settings(start, config, weights, device, group)
        if not group.is_main:
            return _join(out, run_id, settings)
        refuse_taken(out, overwrite=overwrite, inputs=(*corpora, start.base, start.vocabulary))
        with locked(out):
            claim(out, overwrite=overwrite)
            work = out / SCRATCH
            _refuse_another_run(work, settings)
            sources = [open_corpus(path, leave_out=leave_out) for path in corpora]
            tokenizer = tokenizer_of(sources, start, work, watch)
            pool = Pool(shards_of(sources, tokenizer, config, work, watch), weights)
            vectors_VD = initial_vectors(pool, tokenizer, start, work, seed=config.seed, watch=watch)
            write_json(work / READY, {"corpora": len(corpora), "run_id": run_id})
            run = prepare(tokenizer, pool, vectors_VD, settings, watch)
            trained, plan = run.train(out, track=track)
            if not run.encoder_changed(trained):
                watch.say(
                    "the held-out loss was lowest before the encoder was trained: the encoder is the base's, unchanged"
                )
            report = _finish(run, out, trained, plan, half=half, licence=licence, command=command)
            delete_scratch(out)
    return PretrainingResult(out, report)


def _finish(
    run: Run, out: Path, trained: Trained, plan: Plan, *, half: bool, licence: str | None, command: str
) -> dict[str, Any]:
    """Save the model, evaluate the saved one, and write the report; return its facts."""
    info = {
        "name": out.name,
        "max_length": run.model.encoder.config.max_positions,
        "base": run.settings.start.base or run.settings.start.size,
        "versions": versions(),
    }
    save_pretrained(out, run.model, run.tokenizer, info, torch.bfloat16 if half else torch.float32)
    run.watch.say(f"model saved in {out}")
    report = report_facts(run, out, trained, plan, command)
    report["data"]["licence"] = licence
    write_json(out / "report.json", report)
    write_report(out, KIND)
    return report


def _join(out: Path, run_id: float, settings: Settings) -> PretrainingResult:
    """Train in a process other than the main one, after that one has prepared the corpora."""
    work = out / SCRATCH
    ready: dict[str, Any] = {}
    while ready.get("run_id") != run_id:  # torchrun ends this process if the main one dies
        time.sleep(0.2)
        with suppress(ModelError):  # not there yet
            ready = read_json(work / READY)
    tokenizer = Tokenizer.from_folder(work / TOKENIZER)
    pool = Pool(
        [open_shards(corpus_folder(work, number), checked=True) for number in range(ready["corpora"])], settings.weights
    )
    vectors_VD = initial_vectors(pool, tokenizer, settings.start, work, seed=settings.config.seed, watch=Silent())
    prepare(tokenizer, pool, vectors_VD, settings, Silent()).train(out, track=())
    return PretrainingResult(out, {})


def _refuse_another_run(work: Path, settings: Settings) -> None:
    """Raise ConfigError where `work` is of a run with other settings; save the settings of this one."""
    (work / READY).unlink(missing_ok=True)
    if (work / RUN).is_file():
        refuse_changes(read_sealed(work / RUN, ANEW), settings.identity(), work)
    work.mkdir(parents=True, exist_ok=True)
    write_sealed(work / RUN, settings.identity())


def _check(
    corpora: Sequence[str | Path],
    weights: Sequence[float],
    start: Start,
    config: PretrainConfig,
    *,
    track: Sequence[str],
) -> None:
    """Raise ConfigError for settings that cannot work, before any corpus is read."""
    if not corpora:
        raise ConfigError("no corpus was given — name at least one file, folder or archive of texts")
    if len(weights) != len(corpora):
        given = f"{counted(len(weights), 'weight')} for {counted(len(corpora), 'corpus', 'corpora')}"
        raise ConfigError(f"{given} — give one weight for each")
    for weight in weights:
        if not 0 < weight < 1000:
            raise ConfigError(f"a weight is {weight} — give a number above 0: how often an epoch reads the corpus")
    if start.base is not None and find_base(start.base).folder is None:
        raise ConfigError(f"{start.base} is a size with random weights — name a base model, or use `filbert pretrain`")
    if config.whole_words:
        word_starts("词")  # raises where jieba is not installed
    check_trackers(track)
