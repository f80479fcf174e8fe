"""`filbert serve`: finished models over HTTP, with a page to try them."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from filbert.cli.console import Screen
from filbert.cli.options import Abstain, Device, ScoringPrecision, Unknown, WithoutCascade, rate_of, unknown_of
from filbert.cli.parts import check_precision
from filbert.errors import ConfigError

PARTS = ("starlette", "uvicorn", "httptools", "msgspec", "prometheus_client")


def serve(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Run folders, or links to them; the first is the default.")
    ],
    *,
    host: Annotated[str, typer.Option("--host", help="Address; another one than this machine's own needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    api_key_file: Annotated[
        Path | None, typer.Option("--api-key-file", help="File with the key that clients must send.")
    ] = None,
    queue_seconds: Annotated[
        float,
        typer.Option("--queue-seconds", min=0.01, max=600, help="Work that may wait before requests are refused."),
    ] = 1.0,
    precision: ScoringPrecision = "fp32",
    no_cascade: WithoutCascade = False,
    abstain: Abstain = None,
    unknown: Unknown = None,
    device: Device = None,
) -> None:
    """Answer over HTTP: text-embeddings-inference's routes, the hub's inference API, and a page to try models."""
    check_precision(precision)
    if missing := missing_parts():
        raise ConfigError(f"serving needs packages: {missing} — pip install 'filbert[serve]'")
    from filbert.server.limits import Limits
    from filbert.server.run import Server, read_key
    from filbert.server.wire import Setup

    key = read_key(api_key_file, host)
    with Screen(results=True) as screen:
        setup = Setup("", device, precision, not no_cascade, rate_of(abstain), unknown_of(unknown))
        limits = Limits(queue=queue_seconds)
        server = Server(models, setup, host=host, port=port, key=key, limits=limits, tell=screen.say)
        asyncio.run(server.run())


def missing_parts() -> str:
    """Return which packages serving lacks, for people, or nothing.

    >>> missing_parts()
    ''
    """
    missing = [name for name in PARTS if importlib.util.find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else ""
