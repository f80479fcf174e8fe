"""How long a summary is: the settings of this task, as they are found, asked for and said."""

from __future__ import annotations

from dataclasses import dataclass, replace

from filbert.errors import ConfigError

UNITS = ("sentences", "words", "characters", "share")


@dataclass(frozen=True)
class Settings:
    """How long a summary is, and how its sentences are chosen."""

    length: float = 3
    unit: str = "sentences"
    """What `length` counts: sentences, words or characters at most, or the share of a text's sentences."""
    blocking: bool = True
    """Trigram blocking (Paulus et al. 2018): no two sentences of a summary share three words in a row."""
    weights: tuple[float, ...] = ()
    """Of the model's logit and of what else tells that a sentence is taken, and a constant (signals.py); or none."""
    vectors: int = 0
    """Width of the sentence vectors of a base that was not trained for this: then the most central are taken."""


def untrained(width: int) -> Settings:
    """Return the settings of a base as it is, whose vectors are so wide: the most central sentences are taken."""
    return Settings(vectors=width)


def resized(
    settings: Settings,
    *,
    sentences: int | None = None,
    words: int | None = None,
    characters: int | None = None,
    share: float | None = None,
) -> Settings:
    """Return the settings with another length; as they are where none is told. Raises ConfigError for two, or none.

    >>> resized(Settings(), words=50).unit
    'words'
    """
    told = {"sentences": sentences, "words": words, "characters": characters, "share": share}
    given = {unit: value for unit, value in told.items() if value is not None}
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(f'--{unit}' for unit in given)} are given — choose one of them")
    for unit, value in given.items():
        if not value > 0 or (unit == "share" and value > 1):
            wanted = "a share above 0, at most 1" if unit == "share" else "a number above 0"
            raise ConfigError(f"--{unit} is {value} — give {wanted}")
        return replace(settings, length=float(value), unit=unit)
    return settings


def length_in_words(settings: Settings) -> str:
    """Say how long a summary is.

    >>> length_in_words(Settings(0.2, "share")), length_in_words(Settings(3))
    ('20 % of the sentences', '3 sentences')
    """
    if settings.unit == "share":
        return f"{100 * settings.length:.3g} % of the sentences"
    most = "" if settings.unit == "sentences" else " at most"
    return f"{settings.length:g} {settings.unit if settings.length != 1 else settings.unit.removesuffix('s')}{most}"
