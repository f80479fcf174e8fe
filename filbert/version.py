"""The version of Filbert, and those of what a result depends on."""

from __future__ import annotations

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Return the versions a result depends on, without loading torch.

    >>> versions()["filbert"]
    '0.1.0'
    """
    import platform
    from importlib.metadata import version

    found = {"filbert": __version__, "python": platform.python_version()}
    return found | {name: version(name) for name in ("torch", "numpy")}
