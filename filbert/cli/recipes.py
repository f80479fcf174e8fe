"""Recipes: options of a command in a TOML file, which the command line overrides."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from filbert.errors import ConfigError, shown

RECIPE_BYTES = 1 << 20
OWN = ("recipe", "help")  # options that no recipe has


def read_recipe(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError where it is none.

    >>> read_recipe(Path("recipes/sentiment.toml"))["base"]  # doctest: +SKIP
    'minilm'
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    if path.exists() and not (path.is_file() and path.stat().st_size <= RECIPE_BYTES):
        raise ConfigError(f"{path} — is no recipe: a TOML file of at most {RECIPE_BYTES >> 10:,} kB — give the file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ConfigError(f"{path} — is nested too deeply for a recipe — write a flat table of options") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} — cannot be read as TOML: {error} — correct the recipe") from None


def _use(ctx: typer.Context, given: Path | None) -> Path | None:
    """Make a recipe's options the defaults of the command that is being read."""
    if given is None:
        return None
    known: dict[str, Any] = {}
    for each in ctx.command.params:
        names = [name.lstrip("-").replace("-", "_") for name in each.opts if name.startswith("--")]
        known |= {name: each for name in names if name not in OWN}
    defaults: dict[str, Any] = {}
    for key, value in read_recipe(given).items():
        option = known.get(key.replace("-", "_"))
        if option is None:
            raise ConfigError(f"{given} {key} — is not an option — known options are {', '.join(sorted(known))}")
        several = getattr(option, "multiple", False)
        values = value if isinstance(value, list) else [value]
        flag = getattr(option, "is_flag", False)
        if (isinstance(value, list) and not several) or any(
            not isinstance(each, (str, int, float)) or isinstance(each, bool) != flag for each in values
        ):
            wanted = "true or false" if flag else "a list, or a value" if several else "one value"
            raise ConfigError(f"{given} {key} — is {shown(value)} — write {wanted}")
        raw = value if flag else [str(each) for each in values] if several else str(value)
        try:
            option.process_value(ctx, raw)
        except Exception as error:  # of click, or of typer's own copy of it
            if not hasattr(error, "message"):
                raise
            raise ConfigError(f"{given} {key} — is {shown(value)}: {error.message} — correct the recipe") from None
        defaults[option.name] = raw
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return given


Recipe = Annotated[
    Path | None,
    typer.Option("--recipe", callback=_use, is_eager=True, help="TOML file with these options; the command line wins."),
]
