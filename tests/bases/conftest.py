"""Base models are looked for in caches of the test's own, and at a hub that runs on 127.0.0.1 or not at all."""

from __future__ import annotations

import os
import socket

import pytest
from hub_server import HubServer

CLOSED = "http://127.0.0.1:9"  # the discard port: no server there


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    """Keep the user's caches, hub settings and proxies out."""
    for name in [*os.environ]:
        if name.startswith(("HF_", "HUGGINGFACE_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def hub(monkeypatch):
    with HubServer() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
