"""Format scores as text, alike in the terminal, the page and the model card.

Intervals, differences to the baseline, calibration, truncation, the cascade. No numbers are computed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from filbert.errors import counted, shown
from filbert.report.kind import Metric

WIDE = 0.1  # of an interval, from which on it says nothing of two models that are near each other
PRETRAINING_METRICS = (
    ("mlm_accuracy", "MLM accuracy", True),
    ("mlm_perplexity", "MLM perplexity", False),
    ("nsp_accuracy", "NSP accuracy", True),
    ("pseudo_perplexity", "pseudo-perplexity", False),
)
EXPLAINED = {
    "mlm_accuracy": "Share of the masked tokens of held-out text that are predicted exactly.",
    "mlm_perplexity": "Exponential of the mean loss of masked tokens: a choice among so many tokens; lower is better.",
    "nsp_accuracy": "Share of the pairs of passages whose class, second follows first or not, is predicted right.",
    "pseudo_perplexity": "Perplexity with one token masked at a time, in short texts. "
    "Comparable only between models with the same vocabulary.",
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
    each = example_of(report)
    return f"The best step was chosen on the validation {each}s, so scores on them are slightly optimistic."


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
    found, kind = verdict(difference), "linear model" if linear else "baseline"
    if found == "better":
        return ""
    more = "More labelled texts, more --epochs or another --base may change that."
    if found == "worse":
        return f"So far the {kind} is the better choice. {more}"
    if difference["high"] - difference["low"] > WIDE:
        return f"{texts} cannot tell: hold out more, with --validation or --test, before you choose between the two."
    return f"The {kind} does as well, in seconds. {more}"


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
    if temperature == 1.0:
        return f"The validation {each}s are too few to calibrate on: probabilities only rank the answers."
    sentence = f"A temperature of {temperature:.3f}, fitted on the validation {each}s, is part of the last layer."
    if before is None or after is None:
        return sentence
    error = f"{100 * after:.1f} points on average, {100 * before:.1f} without it"
    return f"{sentence} On them confidence and accuracy differ by {error}."


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
    sentence = verdict(difference)
    kind = "linear baseline" if report["baseline"].get("linear", True) else "baseline"
    start = f"{sentence} {'than' if sentence in ('better', 'worse') else 'to'} the {kind}"
    if metric.percent:
        return f"{start}: {metric.name} {points(difference['value'])} points ({span(difference)})"
    value, low, high = (signed(difference[key]) for key in ("value", "low", "high"))
    return f"{start}: {metric.name} {value} ({low} to {high})"


def signed(number: float) -> str:
    """Return a number with three decimals and its sign.

    >>> signed(-0.02134)
    '−0.021'
    """
    return f"{number:+.3f}".replace("-", "−").replace("−0.000", "0.000").replace("+0.000", "0.000")


def points(share: float) -> str:
    """Return a difference of fractions in signed percentage points.

    >>> points(-0.0213)
    '−2.1'
    """
    return f"{100 * share:+.1f}".replace("-", "−").replace("−0.0", "0.0").replace("+0.0", "0.0")


def span(difference: Mapping[str, Any]) -> str:
    """Return the interval of a difference in points.

    >>> span({"low": -0.004, "high": 0.02})
    '−0.4 to +2.0'
    """
    return f"{points(difference['low'])} to {points(difference['high'])}"


def value_of(found: Mapping[str, Any] | None, percent: bool) -> str:
    """Return the value of a metric: "91.3 %" or "0.826", a dash where it does not exist.

    >>> value_of({"value": 0.9132, "low": 0.909, "high": 0.917}, True)
    '91.3 %'
    """
    if not found or found.get("value") is None:
        return "—"
    return _numbers(found, percent)[0] + (" %" if percent else "")


def interval_of(found: Mapping[str, Any] | None, percent: bool) -> str:
    """Return the interval of a metric: "90.9–91.7" or, where a number is negative, "−0.100 to 0.826".

    >>> interval_of({"value": 0.913, "low": 0.909, "high": 0.917}, True)
    '90.9–91.7'
    """
    if not found or found.get("value") is None:
        return "—"
    _, low, high = _numbers(found, percent)
    return f"{low} to {high}" if found["low"] < 0 else f"{low}–{high}"


def with_interval(found: Mapping[str, Any] | None, percent: bool) -> str:
    """Return a metric and its interval.

    >>> with_interval({"value": 0.913, "low": 0.909, "high": 0.917}, True)
    '91.3 % (90.9–91.7)'
    """
    value = value_of(found, percent)
    return value if value == "—" else f"{value} ({interval_of(found, percent)})"


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
        return f"{100 * pairs:.0f} %"
    if key == "mlm_accuracy":
        return f"{100 / vocabulary:.2g} %, a few percent for always the most frequent token" if vocabulary else "—"
    return f"{vocabulary:,}" if vocabulary else "—"


def amount(number: float) -> str:
    """Return a number as text: in full below a million, else in millions or billions.

    >>> amount(16_384), amount(11_171_074), amount(1_230_000_000)
    ('16,384', '11.2 million', '1.23 billion')
    """
    for size, name in ((1e9, "billion"), (1e6, "million")):
        if number >= size:
            return f"{number / size:,.{0 if number >= 100 * size else 1 if number >= 10 * size else 2}f} {name}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Return a time as text.

    >>> duration(3723), duration(83), duration(4.2)
    ('1 h 2 min', '1 min 23 s', '4.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def share_of(part: float, whole: float) -> str:
    """Return a share in percent, "< 0.1 %" rather than a rounded zero.

    >>> share_of(1, 5000), share_of(0, 10), share_of(1, 8)
    ('< 0.1 %', '0 %', '12.5 %')
    """
    if not part or not whole:
        return "0 %"
    return f"{100 * part / whole:.1f} %" if part / whole >= 0.0005 else "< 0.1 %"


def truncation_line(split: str, found: Mapping[str, Any], each: str = "text") -> str:
    """Return a sentence on how many examples and tokens of a split were truncated; `tokens` are those that were kept.

    >>> truncation_line("test", {"texts": 8, "cut_texts": 1, "tokens": 60, "cut_tokens": 20})
    'test: 1 of 8 texts truncated (12.5 %), 20 of 80 tokens left out (25.0 %)'
    """
    if not found["cut_texts"]:
        return f"{split}: none of {counted(found['texts'], each)} truncated"
    whole = found["tokens"] + found["cut_tokens"]
    share, tokens = share_of(found["cut_texts"], found["texts"]), share_of(found["cut_tokens"], whole)
    return (
        f"{split}: {found['cut_texts']:,} of {counted(found['texts'], each)} truncated ({share}), "
        f"{found['cut_tokens']:,} of {counted(whole, 'token')} left out ({tokens})"
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
    all_texts = report["scores"][split]["n"]
    told, each = with_interval(fresh[metric.key], metric.percent), f"{split} {example_of(report)}s"
    return (
        f"Without the {all_texts - fresh['n']:,} of {all_texts:,} {each} that stand in train, too: {metric.name} {told}"
    )


def never_answered(report: Mapping[str, Any], split: str) -> str:
    """Return the sentence on classes that have texts and no answer; "" where every class is answered.

    >>> row = {"label": "rare", "support": 3, "precision": None, "recall": {"value": 0.0}}
    >>> never_answered({"scores": {"test": {"n": 40, "per_class": [row]}}}, "test")[:49]
    "warning: the model never answers 'rare' (3 texts)"
    """
    missed = [
        f"{shown(each['label'], 30)} ({counted(each['support'], 'text')})"
        for each in report["scores"][split].get("per_class") or ()
        if each["support"] and not _value(each["recall"]) and not _value(each["precision"])
    ]
    if not missed:
        return ""
    named = ", ".join(missed[:5]) + f" and {len(missed) - 5:,} more" * (len(missed) > 5)
    cure = "give more texts of it, or try --balance auto or more --epochs"
    return f"warning: the model never answers {named} of {split}, whatever its accuracy — {cure}"


def diagnosis_line(report: Mapping[str, Any]) -> str:
    """Return the sentence on why a run failed, and the next command; "" where it did not.

    >>> diagnosis_line({"diagnosis": {"sentence": "nothing was learned", "command": "filbert fit a.csv --epochs 9"}})
    'warning: nothing was learned. Next: filbert fit a.csv --epochs 9'
    """
    found = report.get("diagnosis")
    return f"warning: {found['sentence']}. Next: {found['command']}" if found else ""


def _value(figure: Any) -> float:
    return float((figure or {}).get("value") or 0.0)


def cascade_line(found: Mapping[str, Any]) -> str:
    """Return sentences on a cascade: which share of texts the linear model answers, how fast, at what cost.

    >>> cascade_line({"share": 0.6, "speedup": 2.4, "points": 0.5, "bound": 0.0041, "texts": 1000})
    'Cascade: a linear model answers the 60 % of texts it is sure of, BERT the others: 2.4 × as fast. With 95 % \
confidence this costs at most 0.41 points of accuracy (1,000 validation texts).'
    """
    if not found["share"]:
        return (
            f"No cascade: {counted(found['texts'], 'validation text')} cannot show that a linear model costs at most "
            f"{found['points']:g} points; {100 * found['least']:.2f} points are the least they could show. Give more "
            "with --validation, or allow more."
        )
    more = found.get("pseudo_labelled")
    trained = f", trained also on BERT's predictions for {counted(more, 'unlabelled text')}," if more else ""
    sentence = (
        f"Cascade: a linear model{trained} answers the {100 * found['share']:.0f} % of texts it is sure of, BERT the "
        f"others: {found['speedup']:.1f} × as fast. With 95 % confidence this {_cost(found['bound'])} points of "
        f"accuracy ({counted(found['texts'], 'validation text')})."
    )
    test = found.get("test")
    if test:
        sentence += (
            f" On {counted(test['n'], 'test text')} it answered {100 * test['share']:.0f} %, and accuracy changed "
            f"by {points(-test['lost']['value'])} points ({points(-test['lost']['high'])} to "
            f"{points(-test['lost']['low'])})."
        )
    return sentence


def _cost(bound: float) -> str:
    return f"costs at most {100 * bound:.2f}" if bound >= 0 else f"costs nothing, but gains at least {-100 * bound:.2f}"


def _numbers(found: Mapping[str, Any], percent: bool) -> list[str]:
    """Return value, low and high with enough digits not to be rounded up to a perfect score."""
    numbers = [found[key] for key in ("value", "low", "high")]
    if not percent and numbers[0] >= 10:  # a perplexity
        return [f"{x:,.{1 if numbers[0] < 1000 else 0}f}" for x in numbers]
    digits = 3
    while digits < 6 and any(x < 1 <= round(x, digits) for x in numbers[:2]):
        digits += 1
    shown = [f"{100 * x:.{digits - 2}f}" if percent else f"{x:.{digits}f}" for x in numbers]
    return [each.replace("-", "−") for each in shown]
