"""One table from what went wrong to what the client is told: a status, a type, and the field where it stands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from filbert.errors import FilbertError
from filbert.server.line import Down, Expired, Full

KINDS = {  # as text-embeddings-inference calls them
    400: "Validation",
    401: "Unauthorized",
    404: "NotFound",
    405: "Validation",
    413: "Validation",
    415: "Validation",
    422: "Validation",
    429: "Overloaded",
    500: "Backend",
    503: "Unhealthy",
}


class Rejected(Exception):
    """A request that is not answered: its status, what is wrong, what to do, and the fields where it stands."""

    def __init__(self, status: int, message: str, fields: Sequence[str] = (), **headers: str) -> None:
        super().__init__(message)
        self.status, self.fields, self.headers = status, list(fields), headers


def rejected(error: Exception) -> Rejected:
    """Return an error as a client is told of it; what was not foreseen says nothing but that.

    >>> rejected(Full(2.5)).status, rejected(KeyError("secret")).args
    (429, ('an error inside the server; its log says more',))
    """
    if isinstance(error, Rejected):
        return error
    if isinstance(error, Full):
        return Rejected(429, f"{error} — come again in {error.after} s", **{"retry-after": str(error.after)})
    if isinstance(error, (Expired, Down)):
        return Rejected(503, f"{error} — send it again", **{"retry-after": "1"})
    if isinstance(error, HTTPException):
        what = "there is no such path" if error.status_code == 404 else "this path has other methods"
        return Rejected(error.status_code, f"{what} — see /docs")
    if isinstance(error, FilbertError):
        return Rejected(422, str(error))
    return Rejected(500, "an error inside the server; its log says more")


def error_response(error: Rejected) -> Response:
    """Return {error, error_type, fields} with the status."""
    told: dict[str, Any] = {"error": str(error), "error_type": KINDS.get(error.status, "Backend")}
    if error.fields:
        told |= {"field": error.fields[0], "fields": error.fields}
    return json_response(told, error.status, error.headers)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return JSON; lone surrogates cannot be in it, nor NaN."""
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
    return Response(body, status, headers, media_type="application/json")
