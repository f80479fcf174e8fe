"""The program beside an exported model: it asks the model without Filbert, in some 25 lines.

How a file is opened is the format's, what a text is and what the outputs mean the task's.
"""

from __future__ import annotations

from filbert.export.formats import Format
from filbert.model.head import Head
from filbert.tasks.long_texts import ALL_WINDOWS, ONE_WINDOW
from filbert.tasks.task import Task

HEAD = '''\
"""Ask this model without Filbert: pip install numpy tokenizers {package}; python example.py TEXT [TEXT]..."""

import json
import sys
from pathlib import Path

import numpy as np
import {package}
from tokenizers import Tokenizer

folder = Path(__file__).parent
told = json.loads((folder / "filbert.json").read_text("utf-8"))
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
{opened}

def logits(ids, segments, **more):
    """Return the outputs for one text; in a batch, padding has the id 0 and attention_mask 0."""
    feed = {{"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": segments, **more}}
    return np.asarray(run({{name: np.array([row], np.int64) for name, row in feed.items()}})[0], np.float64)


'''


def example(format_: Format, task: Task, head: Head) -> str:
    """Return the program; a `head` that weighs windows has it read all of them.

    >>> from filbert.export.formats import FORMATS
    >>> from filbert.tasks import TASKS
    >>> 20 < len(example(FORMATS["onnx"], next(iter(TASKS.values())), Head(2)).splitlines()) < 32
    True
    """
    plain = task.PLAIN.replace(ONE_WINDOW, ALL_WINDOWS) if head.weighed else task.PLAIN
    return HEAD.format(package=format_.package, opened=format_.opened_by) + plain
