"""`filbert explain`: why a text gets its answer, as coloured words, as a page, or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from filbert.cli.console import Screen, fitted, table
from filbert.cli.options import Device, Json, Language, Model, Overwrite, spoken
from filbert.cli.parts import engine_of, one_text, refuse_missing
from filbert.errors import ConfigError, safe
from filbert.failures import print_json
from filbert.language import speaking
from filbert.language.terminal import terminal, translated

if TYPE_CHECKING:
    from filbert.inference.explain import Explanation, Word

TOP = 10  # words in the terminal's table
WIDEST = 10  # marks of a bar there
STYLES = {
    True: ("", "orange3", "bold orange3", "bold reverse orange3"),
    False: ("", "blue", "bold blue", "bold reverse blue"),
}


def explain(
    model: Model,
    text: Annotated[str, typer.Argument(help="The text, or the question; - for stdin.")],
    *,
    text_pair: Annotated[
        str | None,
        typer.Option("--text-pair", "--pair", help="The second text of a model that takes two.", metavar="TEXT"),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Page to write, .html.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="What to explain: a label, for instance [the answer].")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="gradients (integrated), or occlusion: hide each word.")
    ] = "gradients",
    language: Language = None,
    device: Device = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Say why a text gets its answer: which words speak for it and against it, and where attention goes."""
    from filbert.inference.writers import check_output

    if out is not None:
        if out.suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"{out} — an explanation is a page — name it .html")
        check_output(out, (), (model,), overwrite=overwrite, formats=())
    with Screen(results=not as_json) as screen:
        if text == "-":
            text = one_text("-", None)
        elif text_pair is None:
            refuse_missing(text)
        engine = engine_of(model, device, "fp32")
        texts = (text,) if text_pair is None else (text, text_pair)
        found = engine.explain(texts, output=output, by=cast('Literal["gradients", "occlusion"]', by))
        _show(screen, found)
        if out is not None:
            found.save(out, engine.info.get("name") or model.name, spoken(language) or "en")
            screen.show("", f"page  {out}")
    if as_json:
        print_json({**found.json(), "out": None if out is None else str(out)})


def _show(screen: Screen, found: Explanation) -> None:
    """Print the answer, the text with its words coloured where the terminal can, a table, and what is to be said."""
    from filbert.report.explanation import sentences

    screen.show(safe(found.answer), style="bold", data=True)
    largest = max((abs(word.weight or 0.0) for word in found.words), default=0.0)
    for part, text in enumerate(found.texts):
        screen.coloured(_parts(text, [word for word in found.words if word.part == part], largest))
    rows = [(translated("word"), translated("weight"), "")]
    for word in found.top(TOP):
        rows.append((fitted(word.text), f"{word.weight:+.3f}".replace("-", "−"), _bar((word.weight or 0.0) / largest)))
    screen.show("", *table(rows, right=(1,)), "", data=True)
    with speaking(terminal()):
        screen.show(*sentences(found.json()), prose=True)


def _parts(text: str, words: list[Word], largest: float) -> list[tuple[str, str]]:
    """Return a text in parts with their styles."""
    parts, at = list[tuple[str, str]](), 0
    for word in words:
        parts.append((text[at : word.begin], ""))
        strength = round(3 * abs(word.weight or 0.0) / largest) if largest else 0
        style = "dim strike" if word.weight is None else STYLES[word.weight > 0][strength]
        parts.append((text[word.begin : word.end], style))
        at = word.end
    return [*parts, (text[at:], "")]


def _bar(share: float) -> str:
    """Return a bar of one sign or the other, which is read without colours, too.

    >>> _bar(0.5), _bar(-0.25)
    ('+++++', '--')
    """
    return ("+" if share > 0 else "-") * max(1, round(WIDEST * abs(share)))
