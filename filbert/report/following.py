"""The last section of a fine-tuned model's page: what its figures ask for, and the commands that use it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from filbert.errors import counted
from filbert.language import N_, _
from filbert.report.folds import SUSPECTS
from filbert.report.html import Html, plain, tag
from filbert.report.page import Log, Report
from filbert.report.words import advice, diagnosis_line, difference_of, example_of, main_split, never_answered

Command = tuple[str, str]  # what it is for, and what stands after `filbert`, with {model} in it
COMMANDS: Sequence[Command] = (
    (N_("answer a file"), "predict {model} new.csv"),
    (N_("measure it on other texts"), "evaluate {model} labelled.csv"),
    (N_("see why a text gets its answer"), 'explain {model} "a text" -o why.html'),
    (N_("answer over HTTP"), "serve {model}"),
)


def following(first: Command | None) -> Callable[[Report, Log], Html | None]:
    """Return a builder of the section; `first` is the command of a task that has one of its own."""

    def build(report: Report, log: Log) -> Html | None:
        if not report.get("training"):
            return None
        asked = [tag("li", line) for line in todo(report)]
        model = shlex.quote(plain(str(report.get("folder") or report.get("name") or "model")))
        commands = [
            f"filbert {command.format(model=model)}  # {_(why)}"
            for why, command in ((first,) if first else ()) + (*COMMANDS,)
        ]
        return tag(
            "div",
            tag("ul", asked) if asked else None,
            [tag("pre", tag("code", line)) for line in commands],
            tag("p", _("Run these beside this folder."), class_="note"),
        )

    return build


def todo(report: Report) -> list[str]:
    """Return sentences on what would make the model, or what is known of it, better; the most urgent first.

    >>> todo({"scores": {"test": {"n": 9}}, "suspects": {"count": 3}})
    ['3 targets are doubtful: correct them in suspects.csv, and fit again with --corrections suspects.csv.']
    """
    split, found = main_split(report), []
    warning = _("warning: ")
    difference, linear = difference_of(report, split), (report.get("baseline") or {}).get("linear", True)
    if failed := diagnosis_line(report).removeprefix(warning):
        found.append(_("{sentence}.", sentence=failed[0].upper() + failed[1:]))
    elif missed := never_answered(report, split).removeprefix(warning):
        found.append(_("{sentence}.", sentence=missed[0].upper() + missed[1:]))
    if difference:
        texts = counted(report["scores"][split]["n"], f"{split} {example_of(report)}")
        found.append(advice(difference, texts, linear=linear))
    if doubtful := (report.get("suspects") or {}).get("count"):
        told = _("{count:,} targets are doubtful") if doubtful > 1 else _("{count:,} target is doubtful")
        found.append(
            _(
                "{told}: correct them in {file}, and fit again with --corrections {file}.",
                told=told.format(count=doubtful),
                file=SUSPECTS,
            )
        )
    if split == "validation":
        found.append(_("Give texts that had no part in the choice of the best step with --test: that score is honest."))
    return [sentence for sentence in found if sentence]
