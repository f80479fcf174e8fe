"""`filbert vocab`, `pretrain` and `adapt`: from raw text to a base model of one's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.options import Device, Json, Overwrite, Precision
from filbert.cli.parts import command_line, pasted, print_json
from filbert.config import PretrainConfig
from filbert.console import Screen, fitted, span_of_time, table
from filbert.errors import ConfigError, shown

if TYPE_CHECKING:
    from filbert.pretrain import Start

SUFFIXES = {"k": 10**3, "m": 10**6, "b": 10**9}

Corpora = Annotated[
    list[str],
    typer.Argument(
        help="Text files, folders or archives: plain, JSON lines, Parquet, WikiExtractor.", metavar="CORPUS"
    ),
]
Cased = Annotated[bool, typer.Option("--cased", help="Keep capitals and accents apart [lower-cased].")]
Epochs = Annotated[float | None, typer.Option(help="Passes over the corpora [1; more where they are small].")]
Tokens = Annotated[str | None, typer.Option(help="Tokens to train on, instead: 500k, 100M, 1.5B.")]
Minutes = Annotated[float | None, typer.Option(help="Time for training; the schedule is fitted to it.")]
Weights = Annotated[str | None, typer.Option(help="How often an epoch reads each corpus: 1,2 [1 each].")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="Peak learning rate [by the model's width].")]
Optimizer = Annotated[str | None, typer.Option(help="adamw or muon [adamw].")]
BatchTokens = Annotated[int | None, typer.Option(help="Tokens per step [16384].")]
Length = Annotated[int | None, typer.Option(help="Longest text in tokens; the last tenth of the run reads 512 [128].")]
MaskRate = Annotated[float | None, typer.Option(help="Share of tokens to be predicted [0.15].")]
WholeWords = Annotated[
    bool, typer.Option("--whole-words", help="Mask all pieces of a word together; Chinese by jieba.")
]
NoNext = Annotated[bool, typer.Option("--no-next", help="Leave out next sentence prediction.")]
Seed = Annotated[int | None, typer.Option(help="Fixes initialisation, order and masks [0].")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the stopped run in the folder, or refuse.")]
Licence = Annotated[str | None, typer.Option(help="Licence of the texts, for the model card.")]
Board = Annotated[bool, typer.Option("--tensorboard", help="Write curves for TensorBoard, too.")]


def vocab(
    corpora: Corpora,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the vocabulary.")],
    size: Annotated[int, typer.Option(help="Word pieces, special tokens included.")] = 16_000,
    cased: Cased = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Learn a WordPiece vocabulary from raw text."""
    if size < 100:
        raise ConfigError(f"--size is {size} — give at least 100; 16,000 suits a corpus in two languages")
    if (out / "tokenizer.json").exists() and not overwrite:
        raise ConfigError(f"{out} holds a vocabulary — give another folder with -o, or allow --overwrite")
    with Screen(results=not as_json) as screen:
        from filbert.pretrain import Paragraphs
        from filbert.text.vocab import learn

        texts = Paragraphs(corpora)
        for corpus in texts.corpora:
            for line in corpus.found:
                screen.say(line, indent=2)
        tokenizer = learn(texts, size, lowercase=not cased, watch=screen)
        out.mkdir(parents=True, exist_ok=True)
        tokenizer.save(out, 512)
        whole = [t for t in map(tokenizer.token, range(len(tokenizer))) if not t.startswith(("##", "["))]
        han = sum(len(token) == 1 and "\u3400" <= token <= "\u9fff" for token in whole)
        facts = {"folder": str(out), "size": len(tokenizer), "words": len(whole) - han, "han_characters": han}
        rows = [
            ("word pieces", f"{facts['size']:,}"),
            ("of words' beginnings", f"{facts['words']:,}"),
            ("Han characters", f"{han:,}"),
            ("the longest", fitted(" ".join(sorted(whole, key=len)[-6:]), 60)),
            ("vocabulary", str(out)),
            ("train with it", pasted(["filbert", "pretrain", *corpora, "--vocab", str(out)])),
        ]
        screen.show("", *table(rows))
    if as_json:
        print_json(facts)


def pretrain(
    corpora: Annotated[
        list[str] | None, typer.Argument(help="Text files, folders or archives.", metavar="CORPUS")
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the model [runs/SIZE].")] = None,
    size: Annotated[str | None, typer.Option(help="tiny, mini, small, medium, base or large [mini].")] = None,
    vocab: Annotated[Path | None, typer.Option(help="Folder of a vocabulary [learned from the corpora].")] = None,
    vocab_size: Annotated[int | None, typer.Option(help="Word pieces to learn [16000].")] = None,
    cased: Cased = False,
    position: Annotated[str | None, typer.Option(help="learned or sinusoidal [learned].")] = None,
    epochs: Epochs = None,
    tokens: Tokens = None,
    minutes: Minutes = None,
    weights: Weights = None,
    learning_rate: Rate = None,
    optimizer: Optimizer = None,
    batch_tokens: BatchTokens = None,
    length: Length = None,
    mask_rate: MaskRate = None,
    whole_words: WholeWords = False,
    no_next: NoNext = False,
    seed: Seed = None,
    licence: Licence = None,
    recipe: Annotated[Path | None, typer.Option(help="TOML file with these options; those given here win.")] = None,
    precision: Precision = "auto",
    device: Device = None,
    resume: Resume = False,
    tensorboard: Board = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Pre-train a BERT from nothing: masked language modelling and next sentence prediction."""
    told: dict[str, Any] = {
        "corpora": corpora,
        "out": out and str(out),
        "size": size,
        "vocab": vocab and str(vocab),
        "vocab_size": vocab_size,
        "cased": cased or None,
        "position": position,
        "epochs": epochs,
        "tokens": tokens,
        "minutes": minutes,
        "weights": weights,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "batch_tokens": batch_tokens,
        "length": length,
        "mask_rate": mask_rate,
        "whole_words": whole_words or None,
        "next_sentence": False if no_next else None,
        "seed": seed,
        "licence": licence,
        "precision": None if precision == "auto" else precision,
    }
    settings = {**_recipe(recipe), **{key: value for key, value in told.items() if value is not None}}
    from filbert.pretrain import Start

    start = Start(
        size=settings.get("size", "mini"),
        vocabulary=Path(settings["vocab"]) if "vocab" in settings else None,
        vocabulary_size=settings.get("vocab_size", 16_000),
        lowercase=not settings.get("cased", False),
        position=settings.get("position", "learned"),
    )
    _run(settings, start, device=device, resume=resume, track=tensorboard, overwrite=overwrite, as_json=as_json)


def adapt(
    base: Annotated[str, typer.Argument(help="Base model to go on from: minilm, a folder or a hub id.")],
    corpora: Corpora,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the adapted base model.")],
    epochs: Epochs = None,
    tokens: Tokens = None,
    minutes: Minutes = None,
    weights: Weights = None,
    learning_rate: Rate = None,
    optimizer: Optimizer = None,
    batch_tokens: BatchTokens = None,
    length: Length = None,
    mask_rate: MaskRate = None,
    whole_words: WholeWords = False,
    next_sentence: Annotated[bool, typer.Option("--next", help="Next sentence prediction, too.")] = False,
    seed: Seed = None,
    licence: Licence = None,
    precision: Precision = "auto",
    device: Device = None,
    resume: Resume = False,
    tensorboard: Board = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Let a base model read the texts of a field (medical, legal, your own) before it is fine-tuned."""
    settings: dict[str, Any] = {
        "corpora": corpora,
        "out": str(out),
        "epochs": epochs,
        "tokens": tokens,
        "minutes": minutes,
        "weights": weights,
        "learning_rate": learning_rate,
        "optimizer": optimizer,
        "batch_tokens": batch_tokens,
        "length": length,
        "mask_rate": mask_rate,
        "whole_words": whole_words,
        "next_sentence": next_sentence,
        "seed": seed,
        "licence": licence,
        "precision": precision,
    }
    from filbert.pretrain import Start

    start = Start(base=base)
    _run(settings, start, device=device, resume=resume, track=tensorboard, overwrite=overwrite, as_json=as_json)


def _recipe(path: Path | None) -> dict[str, Any]:
    """Read a recipe: a flat TOML table of the options of `pretrain`."""
    if path is None:
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} — cannot be read as TOML: {error} — correct the recipe") from None
    known = {field.name for field in fields(PretrainConfig)}
    known |= {"corpora", "out", "size", "vocab", "vocab_size", "cased", "position", "weights", "licence"}
    if unknown := sorted(set(told) - known):
        raise ConfigError(f"{path} {unknown[0]} — is no option — known are {', '.join(sorted(known))}")
    return told


def _run(
    settings: Mapping[str, Any],
    start: Start,
    *,
    device: str | None,
    resume: bool,
    track: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Train and show what came of it."""
    from filbert.pretrain import pretrain as train
    from filbert.runs import unfinished

    if not settings.get("corpora"):
        raise ConfigError("no corpus was given — name at least one file, folder or archive of texts")
    out = Path(settings.get("out") or f"runs/{start.size}")
    if resume and not unfinished(out):
        raise ConfigError(f"{out} holds no stopped run to go on with — leave out --resume to begin one")
    known = {field.name for field in fields(PretrainConfig)}
    config = PretrainConfig().with_options(
        **{**{key: value for key, value in settings.items() if key in known}, "tokens": _count(settings.get("tokens"))}
    )
    with Screen(results=not as_json) as screen:
        try:
            done = train(
                settings["corpora"],
                out,
                start=start,
                config=config,
                weights=_weights(settings.get("weights")),
                device=device,
                overwrite=overwrite,
                track=track,
                licence=settings.get("licence"),
                command=command_line(),
                watch=screen,
            )
        except KeyboardInterrupt:
            screen.clear()
            screen.say(f"stopped; nothing is lost. To go on: {command_line(without='--overwrite')}")
            raise
        if os.environ.get("RANK", "0") == "0":
            _show(screen, done.folder, done.report)
    if as_json and os.environ.get("RANK", "0") == "0":
        print_json({"folder": str(done.folder), "scores": done.report["scores"], "training": done.report["training"]})


def _show(screen: Screen, folder: Path, report: Mapping[str, Any]) -> None:
    names = {
        "mlm_accuracy": "masked tokens guessed right",
        "mlm_perplexity": "perplexity of masked tokens",
        "nsp_accuracy": "next sentences told right",
        "pseudo_perplexity": "pseudo-perplexity",
    }
    rows = [("on held-out text", "", "95 % interval")]
    for key, name in names.items():
        if key in report["scores"]:
            one, share = report["scores"][key], key.endswith("accuracy")
            value, low, high = (f"{100 * one[k]:.1f} %" if share else f"{one[k]:.2f}" for k in ("value", "low", "high"))
            rows.append((name, value, f"{low} to {high}"))
    training = report["training"]
    screen.show("", *table(rows, right=(1,)))
    screen.show(
        "",
        f"{training['tokens']:,} tokens in {span_of_time(training['seconds'])}, {training['tokens_per_second']:,.0f} "
        f"tokens/s",
        prose=True,
    )
    asked = pasted([str(folder)])
    rows = [
        ("report", str(folder / "report.html"), ""),
        ("guess a word", f'filbert fill "a [MASK] word" --base {asked}', ""),
        ("fine-tune it", f"filbert fit your.csv --base {asked}", ""),
    ]
    screen.show("", *table(rows))


def _count(text: str | int | None) -> int | None:
    """Read a number of tokens as people write it.

    >>> _count("100M"), _count("1.5b"), _count(500)
    (100000000, 1500000000, 500)
    """
    if text is None or isinstance(text, int):
        return text
    digits, factor = text.strip().replace(",", "").replace("_", ""), 1
    if digits and digits[-1].lower() in SUFFIXES:
        digits, factor = digits[:-1], SUFFIXES[digits[-1].lower()]
    try:
        return int(float(digits) * factor)
    except ValueError:
        raise ConfigError(f"--tokens is {shown(text)} — write a number such as 500k, 100M or 1.5B") from None


def _weights(text: str | Sequence[float] | None) -> list[float] | None:
    if text is None or not isinstance(text, str):
        return None if text is None else [float(weight) for weight in text]
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--weights is {shown(text)} — write one number for each corpus: 1,2") from None
