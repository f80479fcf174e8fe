"""One person's work on one file: what is asked, what was answered, and a thread that keeps the models up to date.

    answer → saved → the next text, chosen by the models there are → the thread fits a new one

Every public name may be called from any thread. No web here.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from filbert.errors import ConfigError, shown
from filbert.labelling import choose
from filbert.labelling.finetune import FineTuning
from filbert.labelling.vectors import Vectors
from filbert.labelling.work import RANDOM, REVIEW, UNSURE, Answer, Work
from filbert.records import FloatArray

POOL = 5_000  # texts of the file that are asked about
AT_ONCE = 64  # texts between two looks at what was answered
GROWN = 1.25  # so many times the labels make a fine-tuned model too old to choose by
Chances = dict[str, float]


class Session:
    """Labelling of a work's texts; `start` starts the thread, `stop` ends it.

    `share` of the questions are random texts. With `review` the texts that have a label are asked about again, the
    least likely label first. `pool`: so many texts, chosen at random, are asked about.
    """

    def __init__(
        self,
        work: Work,
        base: str | None = None,
        *,
        share: float = 0.2,
        review: bool = False,
        pool: int = POOL,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        self.work, self.review = work, review
        self.finetuning = FineTuning(work, base)
        self.curve: list[choose.Point] = []
        self.wrong = ""
        """What ended the thread, where something did."""
        able = [i for i in range(len(work.texts)) if not review or i in work.answers]
        if not able:
            raise ConfigError("--review — no text has a label yet — leave it out to label them")
        if not review and all(i in work.answers for i in able):
            raise ConfigError("every text has a label already — add --review to look at the least likely ones")
        chosen = np.random.default_rng(seed).permutation(len(able))[:pool]
        self._pool = sorted(able[at] for at in chosen.tolist())
        self._queue = choose.Queue(len(self._pool), share=share, seed=seed)
        self._base, self._device = base, device
        self._known = threading.RLock()
        self._changed = threading.Condition(self._known)
        self._vectors: list[FloatArray] = []  # in the queue's order
        self._suspicion: dict[int, float] = {}
        self._chances: dict[int, Chances] = {}
        self._unsure: list[int] = []
        self._skipped: set[int] = set()
        self._reviewed: set[int] = set()
        self._history: list[tuple[int, Answer | None]] = []
        self._current: tuple[int, str] | None = None
        self._version, self._fitted, self._stopped = 0, -1, False
        self._thread = threading.Thread(target=self._keep_up, name="labelling", daemon=True)

    def start(self) -> None:
        """Start the thread that fits models."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and a fine-tuning that runs; all answers are saved already."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.finetuning.stop()
        if self._thread.is_alive():
            self._thread.join(timeout=20)

    def state(self) -> dict[str, Any]:
        """Return all that a page shows: the text that is asked about, counts, the learning curve."""
        with self._known:
            counts = Counter(answer.label for answer in self.work.answers.values())
            return {
                "labels": [{"name": label, "count": counts[label]} for label in self.work.labels],
                "texts": len(self.work.texts),
                "pool": len(self._pool),
                "labelled": len(self.work.answers),
                "answered": len(self._history),
                "ready": sum(map(len, self._vectors)),
                "review": self.review,
                "reviewed": len(self._reviewed),
                "curve": [asdict(point) for point in self.curve],
                "wrong": self.wrong,
                "training": self.finetuning.state(),
                "out": str(self.work.out),
                "asked": self._asked(),
            }

    def answer(self, number: int, label: str) -> None:
        """Record an answer to the text that is asked about, and save it. Raises ConfigError where it is another one."""
        with self._changed:
            origin = self._check(number)
            if label not in self.work.labels:
                raise ConfigError(f"label {shown(label)} — is not one of them — choose {', '.join(self.work.labels)}")
            before = self.work.answers.get(number)
            kept = before is not None and before.label == label
            self.work.answers[number] = before if kept and before is not None else Answer(label, origin)
            try:
                self.work.save()
            except BaseException:
                self._restore(number, before)
                raise
            self._history.append((number, before))
            self._reviewed.add(number)
            self._next()

    def skip(self, number: int) -> None:
        """Leave the text that is asked about without an answer."""
        with self._changed:
            self._check(number)
            self._skipped.add(number)
            self._next()

    def undo(self) -> None:
        """Take the last answer back, and ask about that text again. Raises ConfigError where there is none."""
        with self._changed:
            if not self._history:
                raise ConfigError("there is no answer to take back")
            number, before = self._history[-1]
            now = self.work.answers[number]
            self._restore(number, before)
            try:
                self.work.save()
            except BaseException:
                self.work.answers[number] = now
                raise
            self._history.pop()
            self._reviewed.discard(number)
            self._current = (number, now.origin)
            self._version += 1
            self._changed.notify_all()

    def add_label(self, label: str) -> None:
        """Add a label to choose from."""
        with self._known:
            self.work.add_label(label)

    def finetune(self) -> None:
        """Start fine-tuning on the answers; ConfigError where one runs or they are too few."""
        with self._known:
            self.finetuning.start()

    def _restore(self, number: int, before: Answer | None) -> None:
        if before is None:
            self.work.answers.pop(number, None)
        else:
            self.work.answers[number] = before

    def _check(self, number: int) -> str:
        if self._current is None or self._current[0] != number:
            raise ConfigError(f"text {number} — is not the one that is asked about — load the page again")
        return self._current[1]

    def _next(self) -> None:
        """Forget the text that was asked about, and wake the thread."""
        self._current = None
        self._version += 1
        self._changed.notify_all()

    def _asked(self) -> dict[str, Any] | None:
        """Return the text to ask about, the same one until it is answered or skipped; None where all are done."""
        if self._current is None:
            self._current = self._choose()
        if self._current is None:
            return None
        number, origin = self._current
        text, given = self.work.texts[number], self.work.answers.get(number)
        names = self.work.names if len(self.work.names) == len(text.inputs) else ("",) * len(text.inputs)
        return {
            "id": number,
            "texts": [{"name": name, "text": each} for name, each in zip(names, text.inputs, strict=True)],
            "place": str(text.place),
            "why": origin,
            "given": given.label if given else None,
            "chances": self._chances.get(number, {}),
        }

    def _choose(self) -> tuple[int, str] | None:
        if self.review:
            left = [i for i in self._pool if i not in self._reviewed and i not in self._skipped]
            return (min(left, key=lambda i: self._suspicion.get(i, 1.0)), REVIEW) if left else None
        place = {number: at for at, number in enumerate(self._pool)}
        taken = {place[i] for i in (*self.work.answers, *self._skipped) if i in place}
        found = self._queue.next(taken, [place[i] for i in self._unsure])
        return None if found is None else (self._pool[found[0]], RANDOM if found[1] else UNSURE)

    # ---- the thread ----

    def _keep_up(self) -> None:
        try:
            ordered = [self._pool[at] for at in self._queue.order]
            sample = [text for i in ordered[:100] for text in self.work.texts[i].inputs]
            vectors = Vectors(self._base, texts=sample, device=self._device)
            while not self._stopped:
                ready = sum(map(len, self._vectors))
                if ready < len(ordered):
                    chunk = ordered[ready : ready + AT_ONCE]
                    found = vectors([self.work.texts[i].inputs for i in chunk])
                    with self._known:
                        self._vectors.append(found)
                        ready += len(chunk)
                self._refit(ordered)
                self._read_finetuned(ordered)
                with self._changed:
                    if ready == len(ordered) and self._fitted == self._version:
                        self._changed.wait(timeout=1)
        except Exception as error:
            self.wrong = str(error)

    def _refit(self, ordered: Sequence[int]) -> None:
        """Fit a linear model to what was answered, and order the texts by how unsure it is of them."""
        with self._known:
            version, answers = self._version, dict(self.work.answers)
            raw_ND = np.concatenate(self._vectors)
            order = list(ordered[: len(raw_ND)])
            sampled = self._queue.sample({at for at, i in enumerate(self._pool) if i in answers or i in self._skipped})
            random_ones = {self._pool[at] for at in sampled}
        vectors_ND = choose.directions(raw_ND)
        at_L = [at for at, i in enumerate(order) if i in answers][: choose.MOST_FITTED]
        labels_L = [answers[order[at]].label for at in at_L]
        if len(at_L) >= choose.FEWEST and len(set(labels_L)) > 1:
            model = choose.fitted(vectors_ND[at_L], labels_L)
            chances_NC = model.predict_proba(vectors_ND)
            point = choose.accuracy(vectors_ND[at_L], labels_L, np.array([order[at] in random_ones for at in at_L]))
            suspicion = choose.out_of_fold(vectors_ND[at_L], labels_L)[1].tolist() if self.review else []
            classes = [str(label) for label in model.classes_]
            with self._known:
                self._suspicion = {order[at]: own for at, own in zip(at_L, suspicion, strict=False)}
                if not self.finetuning.fresh(len(answers), GROWN):
                    self._choose_by(order, chances_NC, classes)
                if point is not None and (not self.curve or self.curve[-1].labels != point.labels):
                    self.curve = [*(each for each in self.curve if each.labels < point.labels), point]
        self._fitted = version

    def _choose_by(self, order: Sequence[int], chances_NC: FloatArray, classes: Sequence[str]) -> None:
        """Ask next about the texts of which these probabilities are least sure, and show them."""
        self._unsure = [order[at] for at in np.argsort(choose.margins(chances_NC), kind="stable").tolist()]
        self._chances = {
            i: {label: round(float(p), 4) for label, p in zip(classes, chances, strict=True)}
            for i, chances in zip(order, chances_NC, strict=True)
        }

    def _read_finetuned(self, ordered: Sequence[int]) -> None:
        """Where a fine-tuning has just ended well, score all texts by its model, and choose by that."""
        found = self.finetuning.scores([self.work.texts[i].inputs for i in ordered])
        if found is not None:
            classes, chances_NC = found
            with self._known:
                self._choose_by(ordered, chances_NC, classes)
