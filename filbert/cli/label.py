"""`filbert label`: label texts by hand in the browser, the most useful ones first."""

from __future__ import annotations

import importlib.util
import shlex
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from filbert.cli.console import Screen
from filbert.cli.options import Device, reading
from filbert.cli.serve import PARTS
from filbert.errors import ConfigError
from filbert.readers.options import ReadOptions


@reading(labelled=False)
def label(
    file: Annotated[str, typer.Argument(help="File or folder of texts, some of them labelled or none.")],
    *,
    read: ReadOptions,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="File for the labelled texts (.csv, .jsonl, .xlsx …); continued if there."),
    ],
    labels: Annotated[
        str | None, typer.Option("--labels", help="The labels, as good,bad; found in the file where it has some.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option("--label", help="Column of the labels that the file has already.")
    ] = None,
    review: Annotated[
        bool, typer.Option("--review", help="Ask about the texts that have a label, the least likely label first.")
    ] = False,
    base: Annotated[
        str | None, typer.Option("--base", help="Base model whose vectors choose the texts; by their language.")
    ] = None,
    random_share: Annotated[
        float, typer.Option("--random", min=0, max=1, help="Share of the texts taken at random, to measure accuracy.")
    ] = 0.2,
    pool: Annotated[
        int, typer.Option("--pool", min=10, help="Texts of the file, chosen at random, to ask about.")
    ] = 5_000,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the random texts.")] = 0,
    device: Device = None,
) -> None:
    """Label texts in the browser: it asks about those the model is least sure of, and saves after each answer."""
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"the page needs {', '.join(missing)} — pip install 'filbert[serve]'")
    from dataclasses import replace

    from filbert.inference.writers import check_output
    from filbert.labelling.app import Site
    from filbert.labelling.session import Session
    from filbert.labelling.work import open_work

    check_output(out, [file], overwrite=True)
    with Screen() as screen:
        given = [each.strip() for each in (labels or "").split(",")]
        work, found = open_work(file, out, given, replace(read, label=label_column))
        for line in found:
            screen.say(line, indent=2)
        session = Session(work, base, share=random_share, review=review, pool=pool, seed=seed, device=device)

        def opened(url: str) -> None:
            screen.show(url, style="bold")
            screen.say("answers are saved in the file at once; Ctrl-C ends the page", indent=2)
            if browser:
                webbrowser.open(url)

        Site(session, port, opened).run()
        counts = session.state()
        screen.show(
            f"{counts['labelled']:,} of {counts['texts']:,} texts labelled: {out}"
            if counts["labelled"]
            else "nothing labelled"
        )
        if counts["labelled"]:
            screen.say(
                f"train on them: filbert fit {shlex.quote(str(out))} --label {shlex.quote(work.label)}", indent=2
            )
