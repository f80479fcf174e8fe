"""From labelled texts to a finished run folder: everything `filbert fit` and the estimator do, in order.

    splits → base (→ adapt) → features → train → calibrate → save → score what was saved → baseline → report

The model that is scored is the one that was written and opened again, so the report speaks of what people will use.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from filbert.bases.find import Base, find_base
from filbert.bases.load import load_base
from filbert.config import EncoderConfig, TrainConfig, check_points
from filbert.data.splits import Splits
from filbert.errors import ConfigError, TrainingError
from filbert.files import write_json
from filbert.finetuning.adapt import ADAPTING, adapted
from filbert.finetuning.cascade import put_in_front, texts_of
from filbert.finetuning.facts import length_profile, mistakes
from filbert.finetuning.job import ClassifyJob, TextFeed
from filbert.folder.claim import claim, locked, refuse_taken
from filbert.folder.save import add_facts, save_model
from filbert.inference import int8_fallback as doubt
from filbert.inference.engine import Engine, load
from filbert.linear.baseline import baseline
from filbert.metrics import calibration, classes, intervals
from filbert.model.device import best_device, working_dtype
from filbert.model.encoder import Encoder
from filbert.model.network import Classifier
from filbert.model.run import outputs
from filbert.progress import Silent, Watcher
from filbert.records import UNREADABLE, Features, FloatArray, IntArray
from filbert.report import write_report
from filbert.tasks.single_label import outputs as classify
from filbert.text.tokenizer import Tokenizer
from filbert.text.vocab import learn
from filbert.training.loop import Loop, Trained, measure_speed, newest_checkpoint
from filbert.training.optimizer import default_learning_rate
from filbert.training.plan import Plan, plan
from filbert.version import __version__, versions

LOOKED_AT = 1_000  # training texts, for what the base's vocabulary has no pieces for
VOCABULARY = 8_000  # word pieces learned from the training texts for a random start
AGREEMENT = 1e-4  # most a logit may differ between the model in memory and the folder opened again


@dataclass(frozen=True)
class Fitted:
    """A finished run: its folder and what report.json says."""

    folder: Path
    report: dict[str, Any]


def fit(
    splits: Splits,
    out: Path,
    *,
    name: str = "texts",
    source: str = "memory",
    base: str | None = None,
    config: TrainConfig | None = None,
    device: str | None = None,
    overwrite: bool = False,
    track: bool = False,
    compare: bool = True,
    adapt: bool = False,
    unlabelled: Sequence[str | Path] = (),
    cascade: float | None = None,
    command: str = "",
    watch: Watcher | None = None,
) -> Fitted:
    """Fine-tune a classifier on `splits` and leave a finished run folder at `out`.

    An unfinished run of the same data and settings in `out` is resumed. `compare` fits the linear baseline too. With
    `adapt` the base first reads the training texts as masked language modelling (Sun et al. 2019). With `cascade` a
    linear model in front answers the texts it is sure of, at the cost of so many points of accuracy at most.
    `unlabelled` are sources of more texts, for one or both: the base reads them, and the front learns what BERT answers
    to them. Texts of the validation and test splits are left out of them. Raises DataError, ConfigError, ModelError or
    TrainingError; what was in `out` is never replaced without `overwrite`.
    """
    watch = watch or Silent()
    config, device = config or TrainConfig(), best_device(device)
    if cascade is not None:
        check_points(cascade)
    if unlabelled and not adapt and cascade is None:
        raise ConfigError("texts without labels are for --adapt and --cascade — add one of the two, or both")
    refuse_taken(out, overwrite=overwrite)
    with locked(out):
        claim(out, overwrite=overwrite)
        more_texts = [] if cascade is None else texts_of(unlabelled, splits.held_out, watch)
        chosen = find_base(base, texts_sample=[example.text for example in splits.train[:200]], device=device)
        watch.say(f"base {chosen.name} — {chosen.reason}")
        if chosen.folder is not None:
            _tell_unreadable(Tokenizer.from_folder(chosen.folder), splits, watch)
        adaptation = None
        if adapt:
            chosen, adaptation = adapted(
                chosen, splits, unlabelled, out / "checkpoints", config=config, device=device, watch=watch
            )
            if config.minutes is not None:
                config = replace(config, minutes=config.minutes * (1 - ADAPTING))
        run = _prepare(splits, chosen, config, device, watch)
        trained, job, used = _train(run, splits, out, track, watch)
        if trained.stopped.startswith("early"):
            watch.say(f"training stopped {trained.stopped}")
        calibration = _calibrate(job)
        _save(run, job, out, splits, used=used, name=name, temperature=calibration["temperature"])
        watch.say(f"model saved in {out}")
        engine = load(out, device=device)
        scores, known = _scores(run, splits, engine, job, watch=watch, compare=compare)
        report = {
            "task": "classify",
            "name": name,
            "labels": list(splits.labels),
            "data": _data_facts(splits, source),
            "model": _model_facts(run, used),
            "training": _training_facts(run, trained, used, config=config, command=command),
            "adaptation": adaptation,
            "truncation": {split: _cuts(rows) for split, rows in run.features.items()},
            "calibration": calibration,
            **scores,
            "lengths": length_profile(run.lengths, used.max_length),
            "versions": versions(),
        }
        _measure_int8(out, run.features["validation"], known["validation"])
        if cascade is not None:
            report["cascade"] = put_in_front(
                engine, out, splits, cascade, encodings=run.encodings, known=known, unlabelled=more_texts, watch=watch
            )
        write_json(out / "report.json", report)
        write_report(out)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return Fitted(out, report)


@dataclass
class _Run:
    """What is known before training starts."""

    base: Base
    config: TrainConfig
    device: str
    rate: float
    tokenizer: Tokenizer
    model: Classifier
    encodings: dict[str, list[Any]]
    lengths: list[int]  # of the training texts, uncut, special tokens included
    identity: dict[str, Any]
    features: dict[str, list[Features]]


def _prepare(splits: Splits, chosen: Base, config: TrainConfig, device: str, watch: Watcher) -> _Run:
    generator = torch.Generator().manual_seed(config.seed)
    encoder, tokenizer, heads = _encoder(chosen, splits, generator)
    longest = encoder.config.max_positions
    if config.max_length > longest:
        config = replace(config, max_length=longest)
    model = _with_pooling(encoder, len(splits.labels), heads, generator)
    if config.optimizer == "auto":
        config = replace(config, optimizer=chosen.optimizer)
    usual = default_learning_rate(encoder.config.hidden, random_start=chosen.folder is None, optimizer=config.optimizer)
    encodings = {
        split: _encode(tokenizer, [example.text for example in examples], split, watch)
        for split, examples in splits.parts.items()
    }
    lengths = [len(encoding.ids) + 2 for encoding in encodings["train"]]
    identity = {
        "data": splits.fingerprint,
        "base": chosen.name,
        "revision": chosen.revision,
        "labels": list(splits.labels),
        "filbert": __version__,
        **asdict(config),
    }
    return _Run(
        chosen, config, device, config.learning_rate or usual, tokenizer, model, encodings, lengths, identity, {}
    )


def _encoder(base: Base, splits: Splits, generator: torch.Generator) -> tuple[Encoder, Tokenizer, dict[str, Tensor]]:
    if base.folder is not None:
        return load_base(base.folder)
    assert base.size is not None
    tokenizer = learn([example.text for example in splits.train], VOCABULARY)
    return Encoder(EncoderConfig.of_size(base.size, len(tokenizer)), generator), tokenizer, {}


def _with_pooling(encoder: Encoder, classes: int, heads: dict[str, Tensor], generator: torch.Generator) -> Classifier:
    model = Classifier(encoder, classes, generator)
    if "pooler.dense.weight" in heads:
        model.pooler.load_state_dict({kind: heads[f"pooler.dense.{kind}"] for kind in ("weight", "bias")})
    return model


def _encode(tokenizer: Tokenizer, texts: Sequence[str], split: str, watch: Watcher) -> list[Any]:
    encodings = []
    for begin in range(0, len(texts), 2000):
        encodings.extend(tokenizer.encode(texts[begin : begin + 2000]))
        watch.progress(f"reading {split} texts", len(encodings), len(texts))
    return encodings


def _features(run: _Run, splits: Splits, max_length: int, split: str) -> list[Features]:
    return [
        classify.features(encoding, run.tokenizer, max_length, target)
        for encoding, target in zip(run.encodings[split], splits.true(split).tolist(), strict=True)
    ]


def _train(run: _Run, splits: Splits, out: Path, track: bool, watch: Watcher) -> tuple[Trained, ClassifyJob, Plan]:
    run.features = {split: _features(run, splits, run.config.max_length, split) for split in splits.parts}

    def feed(early: int | None) -> TextFeed:
        short = _features(run, splits, early, "train") if early else None
        return TextFeed(run.features["train"], short, config.batch_size, config.tokens_per_batch, config.seed)

    def measure() -> float:
        watch.say("measuring the speed of this machine for a few seconds")
        texts = feed(None)
        return measure_speed(job, texts, config, run.device, layers=layers, rows=rows_of(texts))

    def rows_of(texts: TextFeed) -> dict[str, Tensor]:
        return {"encoder.embeddings.token.weight": torch.from_numpy(texts.ids)}

    config, layers = run.config, run.model.encoder.config.layers
    job = ClassifyJob(run.model, run.features["validation"], run.device)
    interrupted = newest_checkpoint(out / "checkpoints")
    known = Plan(**interrupted[1]["plan"]) if interrupted else None
    used = known or plan(config, run.lengths, len(splits.labels), measure)
    if used.reason:
        watch.say(used.reason)
    if used.max_length != config.max_length:
        run.features = {split: _features(run, splits, used.max_length, split) for split in splits.parts}
        job = ClassifyJob(run.model, run.features["validation"], run.device)
    _tell_cuts(_cuts(run.features["train"]), used.max_length, watch)
    texts = feed(used.early_length)
    loop = Loop(
        job,
        texts,
        config,
        used,
        layers=layers,
        rate=run.rate,
        folder=out / "checkpoints",
        identity=run.identity,
        device=run.device,
        rows=rows_of(texts),
        watch=watch,
        track=out / "tensorboard" if track else None,
    )
    return loop.run(), job, used


def _tell_unreadable(tokenizer: Tokenizer, splits: Splits, watch: Watcher) -> None:
    looked_at = splits.train[:: max(1, len(splits.train) // LOOKED_AT)]
    encodings = tokenizer.encode([example.text for example in looked_at])
    unreadable = sum(tokenizer.unk_ratio(encoding) >= UNREADABLE for encoding in encodings)
    if unreadable:
        watch.say(
            f"warning: the base's vocabulary has no pieces for much of {unreadable:,} of {len(encodings):,} training "
            "texts: another language or script, symbols, or very long words — a --base that knows them does better"
        )


def _tell_cuts(cuts: dict[str, int], longest: int, watch: Watcher) -> None:
    if cuts["cut_texts"]:
        share = cuts["cut_tokens"] / (cuts["tokens"] + cuts["cut_tokens"])
        watch.say(
            f"{cuts['cut_texts']:,} of {cuts['texts']:,} training texts are longer than {longest} tokens: "
            f"their head and tail are kept, {share:.1%} of all tokens are left out"
        )


def _calibrate(job: ClassifyJob) -> dict[str, Any]:
    """Fit one temperature on the validation texts and fold it into the last layer: the order of classes stays.

    Folded, the probabilities are calibrated wherever the weights go, `transformers` included (Guo et al. 2017).
    """
    logits_NC = job.logits()
    temperature = calibration.fit_temperature(logits_NC, job.true_N)
    with torch.no_grad():
        job.model.classifier.weight.div_(temperature)
        job.model.classifier.bias.div_(temperature)
    after = calibration.softmax(logits_NC, temperature)
    return {
        "temperature": temperature,
        "ece_before": calibration.expected_calibration_error(job.true_N, calibration.softmax(logits_NC)),
        "ece_after": calibration.expected_calibration_error(job.true_N, after),
        "bins": calibration.reliability(job.true_N, after),
    }


def _save(run: _Run, job: ClassifyJob, out: Path, splits: Splits, *, used: Plan, name: str, temperature: float) -> None:
    info = {
        "name": name,
        "max_length": used.max_length,
        "long_texts": "head+tail",
        "temperature": temperature,  # folded into the last layer already
        "base": run.base.name,
        "revision": run.base.revision,
        "data_fingerprint": splits.fingerprint,
        "versions": versions(),
    }
    save_model(out, job.model, run.tokenizer, splits.labels, info)


def _scores(
    run: _Run, splits: Splits, engine: Engine, job: ClassifyJob, *, watch: Watcher, compare: bool
) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Check that what was saved is what was trained, score every held-out split and the baseline on it.

    Returns what the report says, and the model's probabilities of each split.
    """
    device, rows = run.device, run.features["validation"][:64]
    apart = float(np.abs(engine.logits(rows) - outputs(job.model, rows, device)).max())
    if not apart <= AGREEMENT:
        raise TrainingError(f"the saved model differs by {apart:.1e} from the one in memory — report this bug")
    held_out = [split for split in splits.parts if split != "train"]
    found: dict[str, Any] = {"scores": {}, "mistakes": []}
    true, known = {split: splits.true(split) for split in held_out}, dict[str, FloatArray]()
    for split in held_out:
        texts = [example.text for example in splits.parts[split]]
        known[split] = engine.predict_proba(texts, done=_teller(watch, f"scoring {split} texts", len(texts)))
        found["scores"][split] = classes.score(true[split], known[split], splits.labels)
    last = held_out[-1]
    found["mistakes"] = mistakes(splits.parts[last], true[last], known[last], splits.labels)
    if compare:
        watch.say("fitting the linear baseline on the same texts")
        found["baseline"] = _compare(splits, held_out, true, known)
    return found, known


def _measure_int8(out: Path, rows: Sequence[Features], exact_NC: FloatArray) -> None:
    """Find out where this model's int8 must ask bf16, and note it in the folder; do nothing where there is no int8."""
    with suppress(ConfigError):
        fast = load(out, device="cpu", precision="int8")
        some = np.linspace(0, len(rows) - 1, min(len(rows), doubt.MOST)).astype(int).tolist()
        found_NC = calibration.softmax(fast.logits([rows[i] for i in some]))
        add_facts(out, {"int8_doubt": doubt.measured(found_NC, exact_NC[some])})


def _teller(watch: Watcher, stage: str, total: int) -> Callable[[int], None]:
    return lambda done: watch.progress(stage, done, total)


def _compare(
    splits: Splits, held_out: Sequence[str], true: dict[str, IntArray], probabilities: dict[str, FloatArray]
) -> dict[str, Any]:
    texts = {split: [example.text for example in splits.parts[split]] for split in held_out}
    labels = [str(example.label) for example in splits.train]
    linear = baseline([example.text for example in splits.train], labels, texts, splits.labels)
    report: dict[str, Any] = {"name": linear.name, "seconds": round(linear.seconds, 2), "note": linear.note}
    report["difference"] = {}
    for split in held_out:
        report[split] = classes.score(true[split], linear.probabilities[split], splits.labels)
        report["difference"][split] = intervals.paired_difference(
            true[split], probabilities[split].argmax(1), linear.probabilities[split].argmax(1)
        )
    return report


def _cuts(rows: Sequence[Features]) -> dict[str, int]:
    return {
        "texts": len(rows),
        "cut_texts": sum(row.cut > 0 for row in rows),
        "tokens": sum(len(row) for row in rows),
        "cut_tokens": sum(row.cut for row in rows),
    }


def _data_facts(splits: Splits, source: str) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {}
    for split, examples in splits.parts.items():
        counts[split] = dict.fromkeys(splits.labels, 0)
        for example in examples:
            counts[split][str(example.label)] += 1
    return {
        "source": source,
        "found": list(splits.found),
        "counts": {split: len(examples) for split, examples in splits.parts.items()},
        "quarantined": splits.counts.get("quarantined", 0),
        "label_counts": counts,
        "fingerprint": splits.fingerprint,
    }


def _model_facts(run: _Run, used: Plan) -> dict[str, Any]:
    shape = run.model.encoder.config
    return {
        "base": run.base.name,
        "reason": run.base.reason,
        "layers": shape.layers,
        "hidden": shape.hidden,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "max_length": used.max_length,
    }


def _training_facts(run: _Run, trained: Trained, used: Plan, *, config: TrainConfig, command: str) -> dict[str, Any]:
    device = run.device
    return {
        **trained.facts(),
        "precision": "bf16" if working_dtype(config.precision, device) == torch.bfloat16 else "fp32",
        "device": device,
        "seed": config.seed,
        "config": {
            **asdict(config),
            "optimizer": run.config.optimizer,
            "learning_rate": run.rate,
            "epochs": used.epochs,
        },
        "command": command,
    }
