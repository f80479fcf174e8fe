"""The version of Filbert, and those of what a result depends on."""

from __future__ import annotations

__version__ = "0.1.0"


def versions() -> dict[str, str]:
    """Return the versions a result depends on, without loading torch.

    >>> versions()["filbert"]
    '0.1.0'
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"filbert": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # torch, where nothing is trained
            continue
    return found
