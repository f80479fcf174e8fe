"""What is no text: nothing, blanks, and characters that nobody sees."""

from __future__ import annotations

import pytest

from filbert.text.visible import visible


@pytest.mark.parametrize("text", ["a", "!", "👍", "好", "ا", "\u0301a", "¿", "\u200ba"])
def test_seen(text):
    assert visible(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\n\t",
        "\u200b",
        "\x00\x01",
        "\ufeff",
        "\ufeff\u200d",
        "\u00a0\u3000",
        "\u3164",
        "\u202e\u2066",
        "\u2028",
    ],
)
def test_D10_unseen(text):
    assert not visible(text)
