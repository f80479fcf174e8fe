"""What is measured and fitted on the validation questions: loss and F1, the threshold of no answer, the temperature.

Shapes: N questions, L tokens of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from filbert.metrics.calibration import FEWEST_FOR_TEMPERATURE, bisected_temperature
from filbert.records import Example, FloatArray
from filbert.tasks.question_answering.candidates import Candidates, all_candidates
from filbert.tasks.question_answering.outputs import measured, right, says_none
from filbert.tasks.question_answering.settings import Settings
from filbert.tasks.task import Calibrated, Fold, Goal, Outputs, Windows


def validate(
    outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()
) -> tuple[Goal, dict[str, float]]:
    """Return (F1, -loss) to maximise, and EM, F1 and loss for the log; with the threshold that is best as it stands."""
    loss = _loss(outputs, windows)
    found = all_candidates(outputs, windows, settings)
    em_N, f1_N = _with_threshold(
        found, examples, replace(settings, threshold=best_threshold(found, examples, settings))
    )
    return (float(f1_N.mean()), -loss), {"f1": float(f1_N.mean()), "em": float(em_N.mean()), "loss": loss}


def _loss(outputs: Outputs, windows: Windows) -> float:
    """Return the cross-entropy of start and end, on average over the windows."""
    losses = []
    for each, parts in zip(outputs, windows, strict=True):
        for logits_L2, window in zip(each, parts, strict=True):
            shifted_L2 = logits_L2 - logits_L2.max(axis=0)
            right_2 = shifted_L2[window.target, (0, 1)]
            losses.append((np.log(np.exp(shifted_L2).sum(axis=0)) - right_2).mean())
    return float(np.mean(losses))


def _with_threshold(
    found: Sequence[Candidates], examples: Sequence[Example], settings: Settings
) -> tuple[FloatArray, FloatArray]:
    return measured(examples, ["" if says_none(each, settings) else each.text(0) for each in found])


def best_threshold(found: Sequence[Candidates], examples: Sequence[Example], settings: Settings) -> float:
    """Return from which lead on "no answer" is to be said: what gives the best F1; 0 where it is never said.

    Half way between two questions' leads, the one nearest to 0 where several are as good.
    """
    if not settings.unanswerable or not found:
        return 0.0
    f1_N = measured(examples, [each.text(0) if each.spans else "" for each in found])[1]
    none_N = np.array([not answers for answers in right(examples)], dtype=np.float64)
    lead_N = np.array([each.lead_of_null() for each in found])
    order_N = np.argsort(lead_N, kind="stable")
    gain_N = (f1_N - none_N)[order_N]
    totals = none_N.sum() + np.concatenate(([0.0], np.cumsum(gain_N)))  # the first i are answered
    leads = lead_N[order_N]
    whole = np.concatenate(([leads[0] - 2], leads, [leads[-1] + 2]))
    whole = np.where(np.isfinite(whole), whole, np.nan_to_num(whole, posinf=1e3, neginf=-1e3))
    middles = (whole[:-1] + whole[1:]) / 2
    apart = np.concatenate(([True], np.diff(leads) > 0, [True]))  # a threshold cannot part equal leads
    good = np.flatnonzero(apart & (totals >= totals[apart].max() - 1e-9))
    return float(middles[good[np.abs(middles[good]).argmin()]])


def calibrate(outputs: Outputs, examples: Sequence[Example], settings: Settings, windows: Windows = ()) -> Calibrated:
    """Fit the threshold of no answer, then the temperature, which is folded into the last layer.

    The temperature is that at which the mean confidence is the share of answers that match exactly.
    """
    found = all_candidates(outputs, windows, settings)
    fitted = replace(settings, threshold=best_threshold(found, examples, settings))
    em_N = _with_threshold(found, examples, fitted)[0]
    accuracy = (float(em_N.sum()) + 0.5) / (len(em_N) + 1)

    def confidence(temperature: float) -> float:
        return float(np.mean([_confidence(each, fitted, temperature) for each in found]))

    temperature = 1.0
    if len(found) >= FEWEST_FOR_TEMPERATURE:
        temperature = bisected_temperature(lambda warmth: confidence(warmth) > accuracy)
    facts = {
        "temperature": temperature,
        "threshold": fitted.threshold / temperature,
        "confidence_before": confidence(1.0),
        "confidence_after": confidence(temperature),
        "exact": float(em_N.mean()),
        "questions": len(found),
    }
    return Calibrated(replace(fitted, threshold=fitted.threshold / temperature), Fold(temperature), facts)


def _confidence(found: Candidates, settings: Settings, temperature: float = 1.0) -> float:
    chances_K = found.probabilities(settings, temperature)
    return float(chances_K[-1] if says_none(found, settings) else chances_K[0])


def sureness(outputs: Outputs, settings: Settings, windows: Windows = ()) -> tuple[FloatArray, FloatArray]:
    """Return confidence and place of each answer, and how far its probability is ahead of the next one's."""
    rows, margins = [], []
    for found in all_candidates(outputs, windows, settings):
        chances = np.sort(found.probabilities(settings))
        place = (0, 0) if says_none(found, settings) else found.place(0)
        whole = max(1, len(found.source.text))
        rows.append((_confidence(found, settings), place[0] / whole, place[1] / whole))
        margins.append(chances[-1] - chances[-2] if len(chances) > 1 else 1.0)
    return np.array(rows, dtype=np.float64).reshape(-1, 3), np.array(margins, dtype=np.float64)
