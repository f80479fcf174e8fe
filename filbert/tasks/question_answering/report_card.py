"""The model card of a model that answers questions out of texts."""

from __future__ import annotations

from filbert.language import N_
from filbert.report.kind import Metric
from filbert.report.page import Log, Report
from filbert.report.score_card import CardParts, scored_card

METRICS = (Metric("f1", "F1", hub="f1"), Metric("em", N_("exact match"), hub="exact_match"))
MORE = (
    Metric("f1_answerable", N_("F1 where there is an answer")),
    Metric("em_answerable", N_("exact match where there is an answer")),
    Metric("em_unanswerable", N_("right where there is none")),
)


def card(report: Report, log: Log) -> str:
    """Return the model card in Markdown.

    >>> card({"name": "policies", "scores": {"test": {"n": 1}}}, []).splitlines()[6]
    '# policies'
    """
    none = report.get("unanswerable")
    longest = report.get("longest")
    said = "**Answers:** a piece of the text" + (f", at most {longest} tokens" if longest else "")
    shared = report.get("stride")
    length = (report.get("model") or {}).get("max_length")
    windows = f" of {length:,} tokens" if length else ""
    overlap = f" that share {shared:,}" if shared else " that overlap"
    parts = CardParts(
        pipeline="question-answering",
        what="A BERT model that answers questions out of a text",
        labels=said + (", or that there is none." if none else "."),
        metrics=(*METRICS, *MORE),
        auto="AutoModelForQuestionAnswering",
        given='["a question"], ["a text"]',
        result="found = model(**batch)",
        code=(
            "start, end = int(found.start_logits[0].argmax()), int(found.end_logits[0].argmax())",
            "print(tokenizer.decode(batch.input_ids[0, start : end + 1]))",
        ),
        commands=('ask {} "a question" --context texts/',),
        long_texts=f"A long text is read whole, in windows{windows}{overlap}; the lines for transformers read one.",
        limits=(
            "Its answers are quotations; whether they are true it does not know.",
            *(() if none else ("It always answers, also where the text has no answer.",)),
        ),
    )
    return scored_card(report, log, parts)
