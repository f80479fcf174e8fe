"""`filbert fill`, `next` and `convert`: use a pre-trained model's MLM and NSP heads; convert old checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from filbert.cli.console import Screen, bars, facts, fitted, table
from filbert.cli.options import Json, Overwrite
from filbert.cli.parts import shell_quoted
from filbert.errors import safe
from filbert.failures import print_json
from filbert.language.terminal import translated

Base = Annotated[str, typer.Option(help="Base model with MLM and NSP heads: filbert-mini, a folder or a hub id.")]


def fill(
    text: Annotated[str, typer.Argument(help='Text with a [MASK] for each word to predict: "Paris is the [MASK] …"')],
    *,
    base: Base = "filbert-mini",
    top: Annotated[int, typer.Option(min=1, help="How many tokens to show for each [MASK].")] = 5,
    as_json: Json = False,
) -> None:
    """Predict the token at each [MASK] of a text (fill mask)."""
    from filbert.pretraining.fill_mask import fill_mask, open_pretrained

    with Screen(results=not as_json) as screen:
        found = fill_mask(open_pretrained(base), text, top)
        for number, one in enumerate(found, 1):
            head = f"[MASK] {number} of {len(found)}" if len(found) > 1 else safe(one.text)
            screen.show(head, style="bold", data=len(found) == 1)
            screen.show(*(f"  {line}" for line in bars(dict(one.tokens))), data=True)
    if as_json:
        print_json({"text": text, "masks": [{"tokens": dict(one.tokens), "text": one.text} for one in found]})


def next_sentence(
    first: Annotated[str, typer.Argument(metavar="A", help="A text.")],
    second: Annotated[str, typer.Argument(metavar="B", help="A text that may follow it.")],
    *,
    base: Base = "filbert-mini",
    as_json: Json = False,
) -> None:
    """Print the probability that one text follows another (next sentence prediction)."""
    from filbert.pretraining.fill_mask import next_sentence_probability, open_pretrained

    chance = next_sentence_probability(open_pretrained(base), first, second)
    if as_json:
        print_json({"first": first, "second": second, "follows": chance})
        return
    named = {translated("B follows A"): chance, translated("B does not follow A"): 1 - chance}
    Screen().show(*bars(named), data=True)


def convert(
    source: Annotated[Path, typer.Argument(help="Folder with bert_model.ckpt.* or pytorch_model.bin.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the model in safetensors.")],
    cased: Annotated[
        bool | None, typer.Option("--cased/--uncased", help="Whether the vocabulary is cased [found].")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Convert a TensorFlow checkpoint or an old PyTorch .bin to a model folder for `--base`."""
    from filbert.bases.convert import convert as convert_model

    done: dict[str, Any] = convert_model(
        source, out, lowercase=None if cased is None else not cased, overwrite=overwrite
    )
    if as_json:
        print_json(done)
        return
    rows = [(name.replace("_", " "), fitted(str(value), 70)) for name, value in done.items()]
    Screen().show(*table(facts(*rows, ("use it", shell_quoted(["filbert", "fit", "your.csv", "--base", str(out)])))))
