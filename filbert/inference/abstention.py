"""From which confidence on a model answers: what `fit` wrote into filbert.json, or another rate of wrong answers.

"abstention": {"rate": 0.02 or null, "levels": [[threshold, answered, wrong], …]}      of the validation texts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filbert.errors import ConfigError, ModelError, shown
from filbert.metrics.selective import Level, chosen, least_rate

KEY = "abstention"


def told(levels: Sequence[Level], rate: float | None) -> dict[str, Any]:
    """Return what filbert.json says; `rate` None: every text is answered.

    >>> told([Level(0.5, 10, 1)], None)
    {'abstention': {'rate': None, 'levels': [[0.5, 10, 1]]}}
    """
    return {KEY: {"rate": rate, "levels": [[each.threshold, each.answered, each.wrong] for each in levels]}}


def threshold_of(info: Mapping[str, Any], rate: float | None) -> float:
    """Return the least confidence of an answer, 0 where everything is answered.

    `rate` is the share of wrong answers that is allowed; 0 allows any, None is what the model was fitted for. Raises
    ConfigError where its validation texts do not show it, ModelError where filbert.json is damaged.

    >>> info = told([Level(0.9, 500, 0), Level(0.0, 900, 90)], 0.02)
    >>> threshold_of(info, None), threshold_of(info, 0.0), threshold_of(info, 0.2)
    (0.9, 0.0, 0.0)
    """
    if rate is None and KEY not in info:
        return 0.0
    found = info.get(KEY)
    if found is None:
        if not rate:
            return 0.0
        raise ConfigError("--abstain — this model has no thresholds for it — fit it again with this version of Filbert")
    try:
        levels = [Level(float(threshold), int(answered), int(wrong)) for threshold, answered, wrong in found["levels"]]
        allowed = found["rate"] if rate is None else rate
        allowed = 0.0 if allowed is None else float(allowed)
    except (TypeError, ValueError, KeyError):
        raise ModelError(f"filbert.json {KEY} — is {shown(found)} — restore the file") from None
    if not allowed:
        return 0.0
    level = chosen(levels, allowed)
    if level is None:
        texts = max((each.answered for each in levels), default=0)
        raise ConfigError(
            f"--abstain {100 * allowed:g}% — {texts:,} validation texts cannot show it for any share of the texts — "
            f"allow {100 * least_rate(levels):.1f}%, or fit with more --validation texts"
        )
    return level.threshold
