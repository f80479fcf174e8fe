"""`filbert vocab`, `pretrain` and `adapt`: make a base model from raw text."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filbert.cli.console import Screen, duration, facts, fitted, table
from filbert.cli.options import Device, Json, Overwrite, Precision, Track, expanded
from filbert.cli.parts import command_line, shell_quoted
from filbert.cli.recipes import read_recipe
from filbert.config import PretrainConfig
from filbert.errors import ConfigError, shown
from filbert.failures import print_json
from filbert.language.terminal import translated

if TYPE_CHECKING:
    from filbert.corpus.prepare import Start

VOCABULARY = {"vocab.txt", "tokenizer.json", "tokenizer_config.json"}
SUFFIXES = {"k": 10**3, "m": 10**6, "b": 10**9}

Corpora = Annotated[
    list[str],
    typer.Argument(
        help="Text files, folders or archives: plain, JSON lines, Parquet, WikiExtractor.", metavar="CORPUS"
    ),
]
Cased = Annotated[bool, typer.Option("--cased", help="Keep capitals and accents [lower-cased].")]


def training_options(
    *,
    epochs: Annotated[float | None, typer.Option(help="Epochs over the corpora [1 to 10: about 5M tokens].")] = None,
    tokens: Annotated[str | None, typer.Option(help="Tokens to train on, instead: 500k, 100M, 1.5B.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for training; the schedule is fitted to it.")] = None,
    weights: Annotated[str | None, typer.Option(help="How often an epoch reads each corpus: 1,2 [1 each].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate [by the model's width].")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or muon [the base's, else adamw].")] = None,
    batch_tokens: Annotated[int | None, typer.Option(help="Tokens per step [pretrain 16384, adapt 4096].")] = None,
    length: Annotated[int | None, typer.Option(help="Longest text in tokens; every tenth step has 512 [128].")] = None,
    mask_rate: Annotated[float | None, typer.Option(help="Share of tokens to mask [0.15].")] = None,
    whole_words: Annotated[
        bool, typer.Option("--whole-words", help="Mask all pieces of a word together; Chinese by jieba.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Random seed of initialisation, order and masks [0].")] = None,
    half: Annotated[bool, typer.Option("--half", help="Write the model in bf16: half the size.")] = False,
    licence: Annotated[str | None, typer.Option(help="Licence of the texts, for the model card.")] = None,
    precision: Precision = "auto",
) -> dict[str, Any]:
    """Return the training options that were given, by name.

    >>> training_options(tokens="1M", precision="fp32")
    {'tokens': '1M', 'precision': 'fp32'}
    """
    options = {
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
        "seed": seed,
        "half": half or None,
        "licence": licence,
        "precision": None if precision == "auto" else precision,
    }
    return {key: value for key, value in options.items() if value is not None}


Resume = Annotated[
    bool, typer.Option("--resume", help="Resume the stopped run in the folder; an error where there is none.")
]


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
    from filbert.corpus.prepare import Paragraphs, check_vocabulary_size

    check_vocabulary_size(size)
    _refuse_taken(out, corpora, overwrite=overwrite)
    with Screen(results=not as_json) as screen:
        from filbert.folder.save import save_vocabulary
        from filbert.readers.documents import open_corpus
        from filbert.text.vocab import learn, unknown_share

        texts = Paragraphs([open_corpus(path) for path in corpora])
        for corpus in texts.corpora:
            for line in corpus.found:
                screen.say(line, indent=2)
        tokenizer = learn(texts, size, lowercase=not cased, watch=screen)
        save_vocabulary(out, tokenizer)
        whole = [t for t in map(tokenizer.token, range(len(tokenizer))) if not t.startswith(("##", "["))]
        han = sum(len(token) == 1 and "\u3400" <= token <= "\u9fff" for token in whole)
        unknown = unknown_share(tokenizer, texts)
        told: dict[str, object] = {"folder": str(out), "size": len(tokenizer)}
        told |= {"words": len(whole) - han, "han_characters": han}
        told["unknown_share"] = round(unknown, 6)
        rows = [
            ("word pieces", f"{len(tokenizer):,}"),
            ("whole words or beginnings", f"{len(whole) - han:,}"),
            ("Han characters", f"{han:,}"),
            ("unknown, [UNK]", translated(f"{unknown:.2%} of the corpus' word pieces")),
            ("the longest", fitted(" ".join(sorted(whole, key=len)[-6:]), 60)),
            ("vocabulary", str(out)),
            ("train with it", shell_quoted(["filbert", "pretrain", *corpora, "--vocab", str(out)])),
        ]
        screen.show("", *table(facts(*rows)), data=True)
    if as_json:
        print_json(told)


def _refuse_taken(out: Path, corpora: Sequence[str], *, overwrite: bool) -> None:
    """Raise ConfigError where a vocabulary would replace other files than one that we wrote, or what is read."""
    from filbert.owned import MANIFEST, finished, refuse_inputs

    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    ours = out.is_dir() and finished(out) and not there - {*VOCABULARY, MANIFEST}
    if out.exists() and not (out.is_dir() and (ours or not there)):
        raise ConfigError(f"{out} holds files that are no vocabulary of Filbert's — give another folder with -o")
    refuse_inputs(out, corpora)
    if there and not overwrite:
        raise ConfigError(f"{out} holds a vocabulary — give another folder with -o, or allow --overwrite")


@expanded("training", training_options)
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
    random_init: Annotated[
        bool,
        typer.Option("--random-init", help="Initialise all weights at random [embeddings start as word vectors]."),
    ] = False,
    training: dict[str, Any],
    no_next: Annotated[bool, typer.Option("--no-next", help="Leave out next sentence prediction.")] = False,
    recipe: Annotated[Path | None, typer.Option(help="TOML file with these options; the command line wins.")] = None,
    device: Device = None,
    resume: Resume = False,
    track: Track = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Pre-train a BERT from random weights: masked language modelling and next sentence prediction."""
    shape = {
        "corpora": corpora,
        "out": out and str(out),
        "size": size,
        "vocab": vocab and str(vocab),
        "vocab_size": vocab_size,
        "cased": cased or None,
        "position": position,
        "random_init": random_init or None,
        "next_sentence": False if no_next else None,
    }
    settings = {**_recipe(recipe), **{key: value for key, value in shape.items() if value is not None}, **training}
    from filbert.corpus.prepare import Start

    start = Start(
        size=settings.get("size", "mini"),
        vocabulary=Path(settings["vocab"]) if "vocab" in settings else None,
        vocabulary_size=settings.get("vocab_size", 16_000),
        lowercase=not settings.get("cased", False),
        position=settings.get("position", "learned"),
        random_init=settings.get("random_init", False),
    )
    _run(settings, start, device=device, resume=resume, track=track or (), overwrite=overwrite, as_json=as_json)


@expanded("training", training_options)
def adapt(
    base: Annotated[str, typer.Argument(help="Base model to start from: minilm, filbert-mini, a folder or a hub id.")],
    corpora: Corpora,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the adapted base model.")],
    training: dict[str, Any],
    next_sentence: Annotated[bool, typer.Option("--next", help="Add next sentence prediction.")] = False,
    device: Device = None,
    resume: Resume = False,
    track: Track = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Continue pre-training a base model on the texts of a domain (medical, legal, your own) before fine-tuning."""
    settings = {"corpora": corpora, "out": str(out), "next_sentence": next_sentence, **training}
    from filbert.corpus.prepare import Start

    start = Start(base=base)
    _run(settings, start, device=device, resume=resume, track=track or (), overwrite=overwrite, as_json=as_json)


RECIPE: dict[str, tuple[type, ...]] = {  # the keys of a recipe and the types of their values
    **dict.fromkeys(("size", "out", "vocab", "position", "optimizer", "precision", "licence"), (str,)),
    **dict.fromkeys(("vocab_size", "batch_tokens", "tokens_per_batch", "length", "long_length", "seed"), (int,)),
    **dict.fromkeys(("epochs", "minutes", "learning_rate", "mask_rate", "long_share", "dropout"), (int, float)),
    **dict.fromkeys(("warmup", "decay", "layer_decay", "weight_decay", "clip", "patience"), (int, float)),
    **dict.fromkeys(("cased", "random_init", "whole_words", "next_sentence", "half"), (bool,)),
    "corpora": (list, str),
    "weights": (list, str),
    "tokens": (str, int, float),
}
TYPE_NAMES = {str: "a text in quotes", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}


def _recipe(path: Path | None) -> dict[str, Any]:
    """Read a recipe: a flat TOML table of the options of `pretrain`."""
    if path is None:
        return {}
    options = read_recipe(path)
    for key, value in options.items():
        if key not in RECIPE:
            raise ConfigError(f"{path} {key} — is not an option — known options are {', '.join(sorted(RECIPE))}")
        kinds = RECIPE[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            wanted = " or ".join(TYPE_NAMES[kind] for kind in kinds)
            raise ConfigError(f"{path} {key} — is {shown(value)} — write {wanted}")
    corpora = options.get("corpora", [])
    corpora = [corpora] if isinstance(corpora, str) else corpora
    if not all(isinstance(name, str) and name for name in corpora):  # "" would be the folder one stands in
        raise ConfigError(f"{path} corpora — is {shown(corpora)} — write a list of texts in quotes: the paths")
    return {**options, "corpora": corpora}


def _run(
    settings: Mapping[str, Any],
    start: Start,
    *,
    device: str | None,
    resume: bool,
    track: Sequence[str],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Train and print the scores."""
    from filbert.owned import unfinished
    from filbert.pretraining.run import pretrain as train

    if not settings.get("corpora"):
        raise ConfigError("no corpus was given — name at least one file, folder or archive of texts")
    out = Path(settings.get("out") or f"runs/{start.size}")
    if resume and overwrite:
        raise ConfigError("--resume continues a stopped run, --overwrite deletes it — choose one")
    if resume and not unfinished(out):
        raise ConfigError(f"{out} holds no stopped run to resume — leave out --resume to start one")
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
                half=settings.get("half", False),
                command=command_line(),
                watch=screen,
            )
        except KeyboardInterrupt:
            screen.clear()
            screen.say(f"stopped; the checkpoint is kept. To resume: {command_line(without='--overwrite')}")
            raise
        if os.environ.get("RANK", "0") == "0":
            _show(screen, done.folder, done.report)
    if as_json and os.environ.get("RANK", "0") == "0":
        print_json({"folder": str(done.folder), "scores": done.report["scores"], "training": done.report["training"]})


def _show(screen: Screen, folder: Path, report: Mapping[str, Any]) -> None:
    names = {
        "mlm_accuracy": "masked-token accuracy",
        "mlm_perplexity": "masked-token perplexity",
        "nsp_accuracy": "next sentence accuracy",
        "pseudo_perplexity": "pseudo-perplexity",
    }
    rows = [("on held-out text", "", translated("95 % interval"))]
    for key, name in names.items():
        if key in report["scores"]:
            one, share = report["scores"][key], key.endswith("accuracy")
            value, low, high = (f"{100 * one[k]:.1f} %" if share else f"{one[k]:.2f}" for k in ("value", "low", "high"))
            rows.append((name, value, translated(f"{low} to {high}")))
    training = report["training"]
    screen.show("", *table(facts(*rows), right=(1,)))
    screen.show(
        "",
        f"{training['tokens']:,} tokens in {duration(training['seconds'])}, {training['tokens_per_second']:,.0f} "
        f"tokens/s",
        prose=True,
    )
    base = shell_quoted([str(folder)])
    rows = [
        (translated("report"), str(folder / "report.html"), ""),
        ("fill a mask", f'filbert fill "a [MASK] word" --base {base}', ""),
        ("fine-tune it", f"filbert fit your.csv --base {base}", ""),
    ]
    screen.show("", *table(facts(*rows)))


def _count(text: str | float | None) -> int | None:
    """Parse a number of tokens.

    >>> _count("100M"), _count("1.5b"), _count(500)
    (100000000, 1500000000, 500)
    """
    if text is None:
        return None
    digits, factor = str(text).strip().replace(",", "").replace("_", ""), 1
    if digits and digits[-1].lower() in SUFFIXES:
        digits, factor = digits[:-1], SUFFIXES[digits[-1].lower()]
    try:
        return int(float(digits) * factor)
    except (ValueError, OverflowError):  # also of nan and inf
        raise ConfigError(f"--tokens is {shown(text)} — write a number such as 500k, 100M or 1.5B") from None


def _weights(given: str | Sequence[object] | None) -> list[float] | None:
    """Read how often an epoch reads each corpus.

    >>> _weights("1,2.5"), _weights([1, 2])
    ([1.0, 2.5], [1.0, 2.0])
    """
    if given is None:
        return None
    try:
        return [float(str(part)) for part in (given.split(",") if isinstance(given, str) else given)]
    except ValueError:
        raise ConfigError(f"--weights is {shown(given)} — write one number for each corpus: 1,2") from None
