"""`filbert ask`: a question answered out of a text, a file or a folder of texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from filbert.cli.console import Screen
from filbert.cli.options import Device, Json, Model, ScoringPrecision
from filbert.cli.parts import check_precision, engine_of, one_text, refuse_missing
from filbert.errors import ConfigError, safe
from filbert.failures import print_json


def ask(
    model: Model,
    question: Annotated[str, typer.Argument(help="The question.")],
    *,
    context: Annotated[
        str, typer.Option("--context", help="Text, file or folder of text files to answer from; - for stdin.")
    ],
    top: Annotated[int, typer.Option(min=1, help="Answers to show, apart from each other.")] = 1,
    passages: Annotated[int, typer.Option(min=1, help="Passages to read, the nearest to the question.")] = 10,
    encoding: Annotated[str | None, typer.Option("--encoding", help="auto (UTF-8, else GB18030) or a codec.")] = None,
    precision: ScoringPrecision = "fp32",
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Answer a question out of a text or a folder of texts, with file, line, sentence and confidence."""
    from filbert.inference.search import Index
    from filbert.inference.search import ask as ask_index

    check_precision(precision)
    with Screen(results=not as_json) as screen:
        read, lines = _passages(context, encoding)
        engine = engine_of(model, device, precision)
        found = ask_index(engine, question, Index(read), passages)
        for line in lines:
            screen.say(line, indent=2)
        if "no_answer" not in engine.task.columns(engine.settings):
            screen.say("the model saw no question without an answer in training: it always gives one", indent=2)
        if found.truncated:
            screen.say(engine.task.TRUNCATED.format(length=engine.max_length), indent=2)
        if found.no_answer:
            screen.show("no answer", style="bold")
            screen.show(f"  confidence {100 * found.confidence:.0f} %")
        for each in found.answers[:top]:
            screen.show(safe(each.answer), style="bold", data=True)
            screen.show(f"  {safe(str(each.place))}  confidence {100 * each.confidence:.0f} %")
            screen.show(f"  {safe(each.sentence)}", data=True)
    if as_json:
        answers: list[dict[str, Any]] = [
            {
                "answer": each.answer,
                "confidence": round(each.confidence, 4),
                "file": each.place.file,
                "line": each.place.line,
                "sentence": each.sentence,
            }
            for each in found.answers[:top]
        ]
        none = {"no_answer": found.no_answer, "confidence": round(found.confidence, 4)}
        about = {"passages": len(read), "truncated": found.truncated}
        print_json({"question": question, **none, "answers": answers, **about})


def _passages(context: str, encoding: str | None) -> tuple[list[Any], list[str]]:
    """Return the passages of a path, of stdin or of the text itself, and what is to be said of them."""
    from filbert.readers.passages import passages_of, read_passages

    if context != "-" and os.path.exists(context):
        return read_passages(Path(context), encoding)
    if context == "-":
        text, name = one_text("-", encoding), "stdin"
    else:
        refuse_missing(context)
        text, name = os.fsencode(context).decode("utf-8", "replace"), "text"
    found = passages_of(text, name)
    if not found:
        raise ConfigError("--context has nothing to read — give a text, a file or a folder of texts")
    return found, []
