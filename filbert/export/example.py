"""The program beside an exported model: it asks the model without Filbert, in some 25 lines.

How a file is opened is the format's, what a text is and what the outputs mean the task's. Where the model is a blend,
the linear model is asked here, too: linear/units.py, counts.py and model.py in so few lines, for one text or pair.
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


LINEAR = '''\
from safetensors.numpy import load_file  # pip install safetensors

blend, linear, U64 = told["blend"], load_file(str(folder / "blend.safetensors")), np.uint64
BITS = 20 if blend["pairs"] else 22  # of a bucket; a pair has four parts of them


def runs(text):
    """Count the runs of words, or of characters, by bucket."""
    text = text[:20_000].lower()
    found = [zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in re.findall(r"\\b\\w+\\b|[?!]", text)]
    if blend["units"] == "characters":
        found = [*map(ord, re.sub(r"\\s+", " ", text))]
    units, run, met = np.array(found, U64), np.zeros(len(found), U64), Counter()
    for many in range(1, blend["longest"] + 1):
        x = run[: max(0, len(units) - many + 1)] ^ (units[many - 1 :] + U64(many << 32))
        x = (x ^ (x >> U64(30))) * U64(0xBF58476D1CE4E5B9)  # SplitMix64
        x = (x ^ (x >> U64(27))) * U64(0x94D049BB133111EB)
        run = x ^ (x >> U64(31))
        met.update((run >> U64(64 - BITS)).tolist())
    return met


def added(texts):
    """Return the outputs of the linear model, which are added to BERT's."""
    parts, similar = [*map(runs, texts)], []
    if blend["pairs"]:
        (a, b), common = parts, parts[0] & parts[1]
        both, (na, nb) = sum(common.values()), (sum(each.values()) for each in parts)
        norm = np.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
        similar = [sum(a[k] * b[k] for k in common), both, min(na, nb)]
        similar = [x / max(y, 1e-9) for x, y in zip(similar, (norm, na + nb - both, max(na, nb)))]
        parts += [common, (a - b) + (b - a)]
    counts = {(place << BITS) + key: n for place, part in enumerate(parts) for key, n in part.items()}
    rows = np.flatnonzero(np.isin(linear["buckets"], [*counts]))
    values = np.array([1 + np.log(counts[bucket]) for bucket in linear["buckets"][rows].tolist()]) * linear["idf"][rows]
    total = values @ linear["weights"][rows] / np.linalg.norm(values) if len(rows) else 0.0
    return linear["bias"] + total + (np.array(similar) @ linear["similar"] if similar else 0.0)


bert = logits
logits = lambda ids, segments: blend["factor"] * bert(ids, segments) + added(sys.argv[1:])

'''


def example(format_: Format, task: Task, head: Head, *, blended: bool = False) -> str:
    """Return the program; a `head` that weighs windows has it read all of them.

    >>> from filbert.export.formats import FORMATS
    >>> from filbert.tasks import TASKS
    >>> 20 < len(example(FORMATS["onnx"], next(iter(TASKS.values())), Head(2)).splitlines()) < 32
    True
    """
    told = HEAD.format(package=format_.package, opened=format_.opened_by)
    if blended:
        more = "import json\nimport re\nimport sys\nimport zlib\nfrom collections import Counter\n"
        told = told.replace("import json\nimport sys\n", more)
    plain = task.PLAIN.replace(ONE_WINDOW, ALL_WINDOWS) if head.weighed else task.PLAIN
    return told + LINEAR * blended + plain
