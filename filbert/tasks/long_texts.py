"""How a text beyond the longest length is read where it has one answer: cut, or whole, in overlapping windows.

    head        the first tokens
    head-tail   the first quarter and the end (framing.py); of two texts the longer one is cut at its end
    windows     [CLS] tokens [SEP] of all parts, two neighbours sharing up to 64 tokens; of two texts the longer one is
                read in parts, each beside the other text

The outputs of the windows are averaged before any task sees them (model/head.py), so that a text has one row of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from filbert.errors import shown
from filbert.model.head import Head
from filbert.records import Encoding, Features
from filbert.tasks.framing import framed, special_tokens
from filbert.text.tokenizer import Tokenizer

HEAD_TAIL, HEAD, WINDOWS = "head-tail", "head", "windows"
WAYS = (HEAD_TAIL, HEAD, WINDOWS)
SHARED = 64  # tokens of two neighbouring windows

ONE_WINDOW = """\
tokenizer.enable_truncation(told["max_length"])  # Filbert keeps the end of a long text, too
text = tokenizer.encode(*sys.argv[1:])
found = logits(text.ids, text.type_ids)
"""
ALL_WINDOWS = """\
lengths = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in sys.argv[1:]]
longer, most = ("only_first", "only_second")[int(np.argmax(lengths))], told["max_length"]
room = most - 1 - len(lengths) - (sum(lengths) - max(lengths))  # a short text stands whole in each window
tokenizer.enable_truncation(most, stride=min(64, room // 4), strategy=longer)
text = tokenizer.encode(*sys.argv[1:])
rows = np.array([logits(each.ids, each.type_ids) for each in [text, *text.overflowing]])
powers = np.exp(rows[:, -1] - rows[:, -1].max())  # the last output weighs a window
found = powers @ rows[:, :-1] / powers.sum()
"""


def windows(encodings: Sequence[Encoding], target: Any, tokenizer: Tokenizer, long: str, length: int) -> list[Features]:
    """Return the windows of a text, or of two, at most `length` tokens each: one where it is not longer, or is cut.

    >>> tokenizer = Tokenizer.from_vocab(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"])
    >>> found = windows(tokenizer.encode(["a b b b a a a"]), None, tokenizer, "windows", 6)
    >>> [each.ids.tolist() for each in found], [(each.begin, each.end) for each in found]
    ([[2, 5, 6, 6, 6, 3], [2, 6, 5, 5, 5, 3]], [(0, 4), (3, 7)])
    """
    room = length - special_tokens(len(encodings))
    tokens = [len(each.ids) for each in encodings]
    if long != WINDOWS or sum(tokens) <= room:
        return [framed(encodings, tokenizer, length, target, head_only=long == HEAD)]
    number = tokens.index(max(tokens))
    beside, cut = list(encodings), 0
    if len(encodings) == 2:
        short = encodings[1 - number]
        kept = min(len(short.ids), room // 2)
        beside[1 - number], cut = replace(short, ids=short.ids[:kept]), len(short.ids) - kept
        room -= kept
    found, source = [], encodings[number]
    for begin in starts(tokens[number], room):
        end = min(begin + room, tokens[number])
        beside[number] = replace(source, ids=source.ids[begin:end])
        window = framed(beside, tokenizer, length, target)
        found.append(replace(window, cut=cut, source=source, begin=begin, end=end))
    return found


def head_of(outputs: int, long: str) -> Head:
    """Return pooler and linear layer on [CLS], with a weight for each window where texts are read in several.

    >>> head_of(2, "windows").width
    3
    """
    return Head(outputs=outputs, weighed=long == WINDOWS)


def starts(tokens: int, room: int) -> list[int]:
    """Return which token of a text stands first in each window.

    >>> starts(1000, 510), starts(510, 510)
    ([0, 446, 892], [0])
    """
    step = room - min(SHARED, room // 4)
    return [0, *range(step, tokens - (room - step), step)]


def saved_way(settings: Mapping[str, Any]) -> str:
    """Return how a saved model reads long texts, of the settings in its filbert.json; ValueError where it is unknown.

    >>> saved_way({"labels": ["a", "b"]})
    'head-tail'
    """
    found = settings.get("long", HEAD_TAIL)
    if found not in WAYS:
        raise ValueError(f"filbert.json settings — long is {shown(found)} — restore the file, or update Filbert")
    return str(found)
