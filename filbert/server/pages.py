"""The pages: one file each, no network, and a policy that lets in their own script and style and nothing else."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources

from starlette.responses import Response


def page(name: str, package: str = "filbert.server") -> Response:
    """Return a page with its content-security policy."""
    body, policy = _read(name, package)
    return Response(
        body, headers={"content-security-policy": policy, "cache-control": "no-cache"}, media_type="text/html"
    )


@functools.cache
def _read(name: str, package: str) -> tuple[bytes, str]:
    looks = resources.files("filbert.server").joinpath("looks.css").read_text("utf-8")
    text = resources.files(package).joinpath(name).read_text("utf-8").replace("/* looks.css */\n", looks)
    policy = ["default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        policy.append(" ".join([kind, *(f"'sha256-{_hash(part)}'" for part in parts)]))
    return text.encode(), "; ".join([*policy, "frame-ancestors 'none'"])


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
