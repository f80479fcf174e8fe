"""The model card of a model that summarizes."""

from __future__ import annotations

from filbert.report.kind import Metric
from filbert.report.page import Log, Report
from filbert.report.score_card import CardParts, scored_card
from filbert.tasks.summarization.length import Settings, length_in_words

METRICS = tuple(Metric(f"rouge{kind}", f"ROUGE-{kind}", hub="rouge") for kind in "12L")


def told_length(report: Report) -> str:
    """Say how long the summaries are.

    >>> told_length({"length": 3.0, "unit": "sentences"})
    '3 sentences'
    """
    return length_in_words(Settings(float(report.get("length") or 3), str(report.get("unit") or "sentences")))


def card(report: Report, log: Log) -> str:
    """Return the model card in Markdown.

    >>> card({"name": "news", "scores": {"test": {"n": 1}}}, []).splitlines()[6]
    '# news'
    """
    parts = CardParts(
        pipeline="summarization",
        what="A BERT model that summarizes a text by choosing some of its sentences (BertSum: Liu 2019)",
        labels=f"**Length of a summary:** {told_length(report)}, if no other one is asked for",
        metrics=METRICS,
        code=(),
        limits=(
            "It repeats sentences of the text as they stand: what they refer to may be left out, and nothing is "
            "checked for truth.",
            "ROUGE counts common words with one reference; it does not tell whether a summary is right or reads well.",
        ),
        commands=("summarize {} article.txt --sentences 3",),
        long_texts="Long texts are read in several windows of whole sentences; a sentence longer than a window is cut.",
    )
    return scored_card(report, log, parts)
