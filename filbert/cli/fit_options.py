"""The options of `filbert fit` that go together: how a model is trained, and what is measured and learned then."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from filbert.cli.options import Language, Precision, Slices, rate_of, spoken, unknown_of
from filbert.cli.recipes import Recipe
from filbert.config import UNKNOWN, TrainConfig


def train_options(
    *,
    balance: Annotated[
        str | None,
        typer.Option(help="For uneven classes: none, weights, sampling, or auto (all three; the best stays) [none]."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Time for training; the schedule is fitted to it.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Epochs over the texts [by their number: 8 to 1].")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of split, initialisation, order, dropout [0].")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Texts per step [32].")] = None,
    max_length: Annotated[
        int | None, typer.Option(help="Tokens read at once; --long says what becomes of longer texts [512].")
    ] = None,
    long: Annotated[
        str | None,
        typer.Option(help="How longer texts are read: head-tail, head, windows (whole), or auto [head-tail]."),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate [by the model's width].")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adamw or muon [the base's, else adamw].")] = None,
    layer_decay: Annotated[
        float | None, typer.Option(help="Factor on the rate from a layer to the one below [1].")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Decoupled weight decay [0.01].")] = None,
    dropout: Annotated[float | None, typer.Option(help="Dropped share while training [the base's, 0.1].")] = None,
    few_shot: Annotated[
        bool | None,
        typer.Option("--few-shot/--no-few-shot", help="For few labels: train by pairs of texts, then a linear layer."),
    ] = None,
    tune: Annotated[
        str | None,
        typer.Option(help="Search for the options that are not given, in so many trials or so much time: 20, 30min."),
    ] = None,
    ensemble: Annotated[
        int | None, typer.Option(help="Train so often, the seed alone changed, and average the weights if that helps.")
    ] = None,
    pooling: Annotated[
        str | None, typer.Option(help="What stands for a text: cls, mean (of its tokens) or auto (the base's) [auto].")
    ] = None,
    precision: Precision = "auto",
) -> TrainConfig:
    """Return the TrainConfig of these command line options; ConfigError where one is wrong.

    >>> train_options(epochs=2.0, balance="weights").epochs
    2.0
    """
    return TrainConfig().with_options(
        minutes=minutes,
        epochs=epochs,
        seed=seed,
        batch_size=batch_size,
        max_length=max_length,
        long=long,
        learning_rate=learning_rate,
        optimizer=optimizer,
        layer_decay=layer_decay,
        weight_decay=weight_decay,
        dropout=dropout,
        few_shot=few_shot,
        balance=balance,
        tune=tune,
        ensemble=ensemble,
        pooling=pooling,
        precision=precision,
    )


def measured_options(
    *,
    abstain: Annotated[
        str | None,
        typer.Option("--abstain", help="Leave unsure texts unanswered, so that at most so many answers are wrong: 2%."),
    ] = None,
    unknown: Annotated[
        str | None,
        typer.Option(
            "--unknown",
            help="Tell texts of none of the known classes; so many of the known ones may be, too: 5%, auto.",
        ),
    ] = None,
    slices: Slices = None,
    no_baseline: Annotated[
        bool, typer.Option("--no-baseline", help="Leave out the linear baseline, and the blend with it.")
    ] = False,
    no_blend: Annotated[bool, typer.Option("--no-blend", help="Never blend BERT with the linear baseline.")] = False,
    language: Language = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=99, help="Train so often, the seed alone changed, and say the spread.")
    ] = 1,
    recipe: Recipe = None,
) -> dict[str, Any]:
    """Return what is measured and learned once the model is trained; a recipe has become options by then.

    >>> measured_options(abstain="2%", no_blend=True)["blend"]
    False
    """
    return {
        "abstain": rate_of(abstain),
        "unknown": unknown_of(f"{UNKNOWN:g}" if unknown == "auto" else unknown),
        "slices": tuple(slices or ()),
        "compare": not no_baseline,
        "blend": not (no_baseline or no_blend),
        "language": spoken(language) or "en",
        "seeds": seeds,
    }
