"""`filbert push` and `filbert pull`: models to and from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from filbert.cli.console import Screen, facts, table
from filbert.cli.options import Json
from filbert.cli.parts import shell_quoted
from filbert.failures import print_json


def push(
    model: Annotated[Path, typer.Argument(help="Run folder of `filbert fit`, or of `filbert pretrain`.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub; made if it is not there.")],
    *,
    public: Annotated[bool, typer.Option("--public", help="Let all read a repository that is made [private].")] = False,
    message: Annotated[str, typer.Option("--message", help="Of the commit.")] = "",
    texts: Annotated[
        bool, typer.Option("--texts", help="Push the texts stored for `filbert verify`, too: at most 32 of yours.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Push a model to the Hugging Face hub: weights, tokenizer, settings and card; no texts unless asked for."""
    from filbert.bases.publish import push as push_model

    with Screen(results=not as_json) as screen:
        screen.progress("uploading", 0, 0)
        done = push_model(model, repo, public=public, message=message, texts=texts)
        screen.clear()
        screen.show(
            *table(facts(("pushed", done["url"]), ("commit", done["commit"]), ("files", ", ".join(done["files"]))))
        )
    if as_json:
        print_json(done)


def pull(
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the hub.")],
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="New folder [runs/NAME].")] = None,
    revision: Annotated[str | None, typer.Option("--revision", help="A branch, a tag or a commit [main].")] = None,
    as_json: Json = False,
) -> None:
    """Pull a model from the Hugging Face hub into a folder, compared with its SHA-256."""
    from filbert.bases.publish import pull as pull_model

    with Screen(results=not as_json) as screen:
        screen.progress("downloading", 0, 0)
        done = pull_model(repo, out or Path("runs") / repo.rsplit("/", 1)[-1], revision=revision)
        screen.clear()
        use = shell_quoted(["filbert", "predict", done["out"], "new.csv"])
        screen.show(*table(facts(("pulled", done["out"]), ("commit", done["commit"]), ("use it", use))))
    if as_json:
        print_json(done)
