"""Fine-tuning on the answers so far, in a process of its own, while one goes on answering.

It is `filbert fit` on a copy of the output; its run folder stays, and is a model like any other.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from filbert.errors import ConfigError
from filbert.inference.engine import load
from filbert.labelling.work import Work
from filbert.records import FloatArray
from filbert.tasks import USUAL

FEWEST = 8  # labels of each of two classes: fewer leave none to validate on


class FineTuning:
    """The fine-tuning of one session: started when asked, at most one at a time."""

    def __init__(self, work: Work, base: str | None) -> None:
        self._work, self._base = work, base
        self.folder = _free(work.out.with_name(f"{work.out.stem}-model"))
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._labels = 0  # that the running, or the finished, one is trained on
        self._unread = self._done = False
        self._wrong = ""

    def start(self) -> None:
        """Start `filbert fit`. Raises ConfigError where one runs, or there are too few answers."""
        if self._running():
            raise ConfigError("a fine-tuning is running already")
        counts = Counter(answer.label for answer in self._work.answers.values())
        if sum(n >= FEWEST for n in counts.values()) < 2:
            raise ConfigError(f"fine-tuning needs {FEWEST} texts of two labels each at least — label some more")
        self.stop()
        self._scratch = tempfile.TemporaryDirectory(prefix="filbert-labels-")
        data = Path(self._scratch.name) / self._work.out.name
        shutil.copyfile(self._work.out, data)
        command = [sys.executable, "-m", "filbert", "fit", str(data), "--label", self._work.label]
        command += [
            "--task",
            USUAL,
            "--text",
            self._work.names[0],
            *(f"--text-pair={name}" for name in self._work.names[1:]),
        ]
        command += [f"--base={self._base}"] if self._base else []
        command += ["-o", str(self.folder), "--overwrite"]
        self._labels, self._done, self._wrong, self._unread = len(self._work.answers), False, "", True
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "TERM": "dumb"}
            )

    def stop(self) -> None:
        """End one that runs, and delete the copy of the output."""
        if self._process is not None and self._running():
            self._process.terminate()
            self._process.wait(timeout=60)
        self._process = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def state(self) -> dict[str, Any]:
        """Return whether one runs, its last line, and of a finished one the accuracy on its validation texts."""
        running = self._running()
        if not running:
            self._settle()
        figures = self._figures() if self._done else None
        return {
            "running": running,
            "line": self._last_line() if running else "",
            "labels": self._labels,
            "wrong": self._wrong,
            "done": figures,
            "folder": str(self.folder),
        }

    def fresh(self, labels: int, grown: float) -> bool:
        """Say whether the finished model is young enough to choose by."""
        return self._done and not self._unread and labels < grown * self._labels

    def scores(self, inputs: Sequence[tuple[str, ...]]) -> tuple[list[str], FloatArray] | None:
        """Return the labels, and chances_NC of texts by a model that has just been finished; None where none has."""
        if self._running() or self._process is None or not self._unread:
            return None
        self._settle()
        self._unread = False
        if not self._done:
            return None
        engine = load(self.folder)
        rows = [engine.task.row(found, engine.settings) for found in engine.predict(list(inputs))]
        start = "probability_"
        names = [key for key in rows[0] if key.startswith(start)]
        chances_NC = np.array([[row[name] or 0.0 for name in names] for row in rows])
        return [name.removeprefix(start) for name in names], chances_NC

    @property
    def _log(self) -> Path:
        assert self._scratch is not None
        return Path(self._scratch.name) / "log"

    def _running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _settle(self) -> None:
        """Look how an ended one ended."""
        if self._process is None or self._done or self._wrong:
            return
        if self._process.returncode == 0:
            self._done = True
        else:
            self._wrong = self._last_line() or f"it ended with exit status {self._process.returncode}"

    def _last_line(self) -> str:
        lines = self._log.read_text("utf-8", "replace").splitlines() if self._log.exists() else []
        said = [line.strip() for line in lines if line.strip()]
        return said[-1][:300] if said else ""

    def _figures(self) -> dict[str, Any] | None:
        report = json.loads((self.folder / "report.json").read_text("utf-8"))
        score = (report.get("scores") or {}).get("validation") or {}
        return score.get("accuracy")


def _free(folder: Path) -> Path:
    """Return a folder that is not there yet, so that no earlier model is replaced."""
    tries = (folder if n == 1 else folder.with_name(f"{folder.name}-{n}") for n in itertools.count(1))
    return next(each for each in tries if not os.path.lexists(each))
