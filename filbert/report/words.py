"""Format scores as text, alike in the terminal, the page and the model card.

Intervals, differences to the baseline, calibration, truncation, the cascade. No numbers are computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import counted, shown
from filbert.language import N_, _, plural, retold
from filbert.report.figures import in_percent, points, share_of, signed, span, with_interval
from filbert.report.kind import Metric

WIDE = 0.1  # of an interval, from which on it says nothing of two models that are near each other
PRETRAINING_METRICS = (
    ("mlm_accuracy", N_("MLM accuracy"), True),
    ("mlm_perplexity", N_("MLM perplexity"), False),
    ("nsp_accuracy", N_("NSP accuracy"), True),
    ("pseudo_perplexity", N_("pseudo-perplexity"), False),
)
EXPLAINED = {
    "mlm_accuracy": N_("Share of the masked tokens of held-out text that are predicted exactly."),
    "mlm_perplexity": N_(
        "Exponential of the mean loss of masked tokens: a choice among so many tokens; lower is better."
    ),
    "nsp_accuracy": N_("Share of the pairs of passages whose class, second follows first or not, is predicted right."),
    "pseudo_perplexity": N_(
        "Perplexity with one token masked at a time, in short texts. "
        "Comparable only between models with the same vocabulary."
    ),
}
SPLITS = (N_("train"), N_("validation"), N_("test"))
VERDICTS = {
    "better": N_("better than the {kind}"),
    "worse": N_("worse than the {kind}"),
    "no clear difference": N_("no clear difference to the {kind}"),
}


def main_split(report: Mapping[str, Any]) -> str:
    """Return the split whose scores are shown first: test where there is one, else validation.

    >>> main_split({"scores": {"validation": {"n": 10}}})
    'validation'
    """
    return "test" if report["scores"].get("test") else "validation"


def example_of(report: Mapping[str, Any]) -> str:
    """Return what one example of a run is called.

    >>> example_of({"data": {"inputs": 2}}), example_of({"data": {"inputs": 2, "example": "question"}})
    ('pair', 'question')
    """
    data = report.get("data") or {}
    name = data.get("example") or "text"
    return "pair" if name == "text" and data.get("inputs") == 2 else str(name)


def chosen_on(report: Mapping[str, Any]) -> str:
    """Return the sentence on scores of the validation split.

    >>> chosen_on({})
    'The best step was chosen on the validation texts, so scores on them are slightly optimistic.'
    """
    texts = plural(f"validation {example_of(report)}")
    if folds := (report.get("few_shot") or {}).get("folds"):
        return _("Scores on the {texts} are of models that had not seen them, in {n} folds.", texts=texts, n=folds)
    return _("The best step was chosen on the {texts}, so scores on them are slightly optimistic.", texts=texts)


def verdict(difference: Mapping[str, Any]) -> str:
    """Return "better", "worse" or, where the interval of a paired difference holds 0, "no clear difference".

    >>> verdict({"value": 0.02, "low": -0.01, "high": 0.05})
    'no clear difference'
    """
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "no clear difference"


def advice(difference: Mapping[str, Any], texts: str, *, linear: bool = True) -> str:
    """Return advice on a paired difference to the baseline, measured on so many texts; "" where BERT is clearly better.

    Where the interval is so wide that it says nothing, only more texts help, whichever side is ahead.

    >>> advice({"value": 0.0, "low": -0.75, "high": 0.75}, "4 validation texts")
    '4 validation texts cannot tell: hold out more, with --validation or --test, before you choose between the two.'
    >>> advice({"value": -0.001, "low": -0.01, "high": 0.008}, "2,000 test texts")[:60]
    'The linear model does as well, in seconds. More labelled tex'
    >>> advice({"value": 0.02, "low": 0.01, "high": 0.03}, "1,000 test texts")
    ''
    """
    found, kind = verdict(difference), _("linear model") if linear else _("baseline")
    if found == "better":
        return ""
    more = _("More labelled texts, more --epochs or another --base may change that.")
    if found == "worse":
        return _("So far the {kind} is the better choice. {more}", kind=kind, more=more)
    if difference["high"] - difference["low"] > WIDE:
        return _(
            "{texts} cannot tell: hold out more, with --validation or --test, before you choose between the two.",
            texts=texts,
        )
    return _("The {kind} does as well, in seconds. {more}", kind=kind, more=more)


def calibration_line(found: Mapping[str, Any], each: str = "text") -> str:
    """Return a sentence on the temperature and the calibration error; an empty string where there is none.

    >>> calibration_line({"temperature": 1.0, "ece_before": 0.5, "ece_after": 0.5})[:50]
    'The validation texts are too few to calibrate on: '
    >>> calibration_line({"temperature": 1.25})
    'A temperature of 1.250, fitted on the validation texts, is part of the last layer.'
    """
    before, after, temperature = (found.get(key) for key in ("ece_before", "ece_after", "temperature"))
    if temperature is None:
        return ""
    texts = plural(f"validation {each}")
    if temperature == 1.0:
        return _("The {texts} are too few to calibrate on: probabilities only rank the answers.", texts=texts)
    sentence = _(
        "A temperature of {temperature:.3f}, fitted on the {texts}, is part of the last layer.",
        temperature=temperature,
        texts=texts,
    )
    if before is None or after is None:
        return sentence
    return _(
        "{sentence} On them confidence and accuracy differ by {after:.1f} points on average, {before:.1f} without it.",
        sentence=sentence,
        after=100 * after,
        before=100 * before,
    )


def difference_of(report: Mapping[str, Any], split: str) -> dict[str, Any] | None:
    """Return the difference of model and baseline on a split in the main metric, if it was measured.

    >>> difference_of({"baseline": None}, "test") is None
    True
    """
    found: dict[str, Any] | None = ((report.get("baseline") or {}).get("difference") or {}).get(split)
    return found if found and found.get("value") is not None else None


def against_baseline(report: Mapping[str, Any], split: str, metric: Metric) -> str:
    """Return a sentence that compares model and baseline, or an empty string without a baseline.

    >>> accuracy = Metric("accuracy", "accuracy")
    >>> known = {"baseline": {"difference": {"test": {"value": 0.021, "low": 0.013, "high": 0.029}}}}
    >>> against_baseline(known, "test", accuracy)
    'better than the linear baseline: accuracy +2.1 points (+1.3 to +2.9)'
    >>> against_baseline(known, "test", Metric("pearson", "Pearson", percent=False))
    'better than the linear baseline: Pearson +0.021 (+0.013 to +0.029)'
    """
    difference = difference_of(report, split)
    if not difference:
        return ""
    kind = _("linear baseline") if report["baseline"].get("linear", True) else _("baseline")
    start, name = _(VERDICTS[verdict(difference)], kind=kind), _(metric.name)
    if metric.percent:
        value, interval = points(difference["value"]), span(difference)
        return _("{start}: {name} {value} points ({interval})", start=start, name=name, value=value, interval=interval)
    value, interval = signed(difference["value"]), span(difference, percent=False)
    return _("{start}: {name} {value} ({interval})", start=start, name=name, value=value, interval=interval)


def chance_of_pairs(report: Mapping[str, Any]) -> float:
    """Return the NSP accuracy of always predicting the more frequent class: a half, or more.

    >>> chance_of_pairs({"scores": {"nsp_accuracy": {"value": 0.9, "chance": 0.62}}})
    0.62
    """
    return float((report["scores"].get("nsp_accuracy") or {}).get("chance") or 0.5)


def by_chance(key: str, vocabulary: int, pairs: float = 0.5) -> str:
    """Return the value of a pre-training metric by chance, for a vocabulary of so many tokens.

    >>> by_chance("nsp_accuracy", 16_000, 0.54), by_chance("mlm_perplexity", 16_000)
    ('54 %', '16,000')
    """
    if key == "nsp_accuracy":
        return in_percent(100 * pairs, ".0f")
    if key == "mlm_accuracy":
        share = in_percent(100 / vocabulary, ".2g") if vocabulary else ""
        return _("{share}, a few percent for always the most frequent token", share=share) if vocabulary else "—"
    return f"{vocabulary:,}" if vocabulary else "—"


def truncation_line(split: str, found: Mapping[str, Any], each: str = "text") -> str:
    """Return a sentence on how many examples and tokens of a split were truncated; `tokens` are those that were kept.

    >>> truncation_line("test", {"texts": 8, "cut_texts": 1, "tokens": 60, "cut_tokens": 20})
    'test: 1 of 8 texts truncated (12.5 %), 20 of 80 tokens left out (25.0 %)'
    """
    texts = counted(found["texts"], each)
    if not found["cut_texts"]:
        if many := found.get("long_texts"):
            return _(
                "{split}: none of {texts} truncated, {many:,} of them read whole, in {windows}",
                split=_(split),
                texts=texts,
                many=many,
                windows=counted(found["long_windows"], "window"),
            )
        return _("{split}: none of {texts} truncated", split=_(split), texts=texts)
    whole = found["tokens"] + found["cut_tokens"]
    return _(
        "{split}: {cut:,} of {texts} truncated ({share}), {left_out:,} of {tokens} left out ({share_of_tokens})",
        split=_(split),
        cut=found["cut_texts"],
        texts=texts,
        share=share_of(found["cut_texts"], found["texts"]),
        left_out=found["cut_tokens"],
        tokens=counted(whole, "token"),
        share_of_tokens=share_of(found["cut_tokens"], whole),
    )


def repeated_line(report: Mapping[str, Any], split: str, metric: Metric) -> str:
    """Return the sentence on the first figure without the texts that stand in train, too; "" where there are none.

    >>> fresh = {"test": {"n": 3, "accuracy": {"value": 0.5, "low": 0.1, "high": 0.9}}}
    >>> repeated_line({"scores": {"test": {"n": 4}}, "without_repeated": fresh}, "test", Metric("accuracy", "accuracy"))
    'Without the 1 of 4 test texts that stand in train, too: accuracy 50.0 % (10.0–90.0)'
    """
    fresh = (report.get("without_repeated") or {}).get(split)
    if not fresh or metric.key not in fresh:
        return ""
    whole = report["scores"][split]["n"]
    return _(
        "Without the {repeated:,} of {whole:,} {texts} that stand in train, too: {name} {value}",
        repeated=whole - fresh["n"],
        whole=whole,
        texts=plural(f"{split} {example_of(report)}"),
        name=_(metric.name),
        value=with_interval(fresh[metric.key], metric.percent),
    )


def never_answered(report: Mapping[str, Any], split: str) -> str:
    """Return the sentence on classes that have texts and no answer; "" where every class is answered.

    >>> row = {"label": "rare", "support": 3, "precision": None, "recall": {"value": 0.0}}
    >>> never_answered({"scores": {"test": {"n": 40, "per_class": [row]}}}, "test")[:49]
    "warning: the model never answers 'rare' (3 texts)"
    """
    missed = [
        _("{label} ({texts})", label=shown(each["label"], 30), texts=counted(each["support"], "text"))
        for each in report["scores"][split].get("per_class") or ()
        if each["support"] and not _value(each["recall"]) and not _value(each["precision"])
    ]
    if not missed:
        return ""
    named = listed(missed, 5)
    return _(
        "warning: the model never answers {named} of {split}, whatever its accuracy — "
        "give more texts of it, or try --balance auto or more --epochs",
        named=named,
        split=_(split),
    )


def listed(names: Sequence[str], most: int) -> str:
    """Return names one after the other, at most so many of them, and how many more there are.

    >>> listed(["a", "b", "c"], 2), listed(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    said = _(", ").join(names[:most])
    return _("{names} and {more:,} more", names=said, more=len(names) - most) if len(names) > most else said


def diagnosis_line(report: Mapping[str, Any]) -> str:
    """Return the sentence on why a run failed, and the next command; "" where it did not.

    >>> diagnosis_line({"diagnosis": {"sentence": "nothing was learned", "command": "filbert fit a.csv --epochs 9"}})
    'warning: nothing was learned. Next: filbert fit a.csv --epochs 9'
    """
    found = report.get("diagnosis")
    if not found:
        return ""
    return _(
        "warning: {sentence}. Next: {command}", sentence=retold(found["sentence"]), command=retold(found["command"])
    )


def _value(figure: Any) -> float:
    return float((figure or {}).get("value") or 0.0)


def cascade_line(found: Mapping[str, Any]) -> str:
    """Return sentences on a cascade: which share of texts the linear model answers, how fast, at what cost.

    >>> cascade_line({"share": 0.6, "speedup": 2.4, "points": 0.5, "bound": 0.0041, "texts": 1000})
    'Cascade: a linear model answers the 60 % of texts it is sure of, BERT the others: 2.4 × as fast. With 95 % \
confidence this costs at most 0.41 points of accuracy (1,000 validation texts).'
    """
    texts = counted(found["texts"], "validation text")
    if not found["share"]:
        return _(
            "No cascade: {texts} cannot show that a linear model costs at most {points:g} points; {least:.2f} points "
            "are the least they could show. Give more with --validation, or allow more.",
            texts=texts,
            points=found["points"],
            least=100 * found["least"],
        )
    more = found.get("pseudo_labelled")
    trained = ""
    if more:
        unlabelled = counted(more, "unlabelled text")
        trained = _(", trained also on BERT's predictions for {texts},", texts=unlabelled)
    sentence = _(
        "Cascade: a linear model{trained} answers the {share:.0f} % of texts it is sure of, BERT the others: "
        "{speedup:.1f} × as fast. With 95 % confidence this {cost} points of accuracy ({texts}).",
        trained=trained,
        share=100 * found["share"],
        speedup=found["speedup"],
        cost=_cost(found["bound"]),
        texts=texts,
    )
    test = found.get("test")
    if not test:
        return sentence
    lost = test["lost"]
    return sentence + _(
        " On {texts} it answered {share:.0f} %, and accuracy changed by {changed} points ({interval}).",
        texts=counted(test["n"], "test text"),
        share=100 * test["share"],
        changed=points(-lost["value"]),
        interval=span({"low": -lost["high"], "high": -lost["low"]}),
    )


def _cost(bound: float) -> str:
    if bound >= 0:
        return _("costs at most {points:.2f}", points=100 * bound)
    return _("costs nothing, but gains at least {points:.2f}", points=-100 * bound)
