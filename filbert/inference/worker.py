"""A process that scores chunks of texts with one model until stdin ends.

    python -m filbert.inference.worker        (started by processes.py, never by hand)

What the model's libraries print goes to stderr: stdout is for the messages.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

from filbert.failures import sentence
from filbert.inference.opening import Opening
from filbert.inference.pipes import framed, read_message
from filbert.inference.rows import scored_rows


def main() -> None:
    """Open the model that the first message names, then score the texts of each message."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def say(value: dict[str, Any]) -> None:
        out.write(framed(json.dumps(value).encode()))
        out.flush()

    first = read_message(sys.stdin.buffer)
    if first is None:
        return
    try:
        engine = Opening(**json.loads(first)).engine()
        say({"found": True})
        while (body := read_message(sys.stdin.buffer)) is not None:
            inputs = [tuple(texts) for texts in json.loads(body)]
            say({"found": [row.told() for row in scored_rows(engine, inputs)]})
    except BrokenPipeError:
        return
    except Exception as error:
        say({"error": type(error).__name__, "message": sentence(error)})


if __name__ == "__main__":
    main()
