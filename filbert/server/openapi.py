"""The routes described as OpenAPI 3.1: what `/openapi.json` returns and `/docs` shows."""

from __future__ import annotations

from typing import Any

from filbert.server.limits import Limits
from filbert.version import __version__

Json = dict[str, Any]

TEXT: Json = {"type": "string", "minLength": 1}
PAIR: Json = {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 2}
NAME: Json = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "description": "A model."}
MODEL: Json = {"name": "model", "in": "query", "schema": {"type": "string"}, "description": "A model; else the first."}
PROBLEMS = {
    "400": "No JSON, no UTF-8, too deep, or a strange path, host or origin",
    "401": "The API key is missing or wrong",
    "404": "No such model or path",
    "413": "The body is too large",
    "422": "A field is wrong; it is named",
    "429": "Too much work is waiting; Retry-After says when to come again",
    "503": "The model failed on this text, or its process is being started again",
}


def described(limits: Limits) -> Json:
    """Return the whole description.

    >>> sorted(described(Limits())["paths"])[:3]
    ['/docs', '/health', '/info']
    """
    batch = {"type": "array", "items": PAIR, "minItems": 1, "maxItems": limits.items}
    predict = {
        "inputs": {
            "description": "A text, a pair as an array of two, or an array of arrays.",
            "oneOf": [TEXT, PAIR, batch],
        },
        "raw_scores": {"type": "boolean", "default": False, "description": "The head's outputs, not probabilities."},
        "truncate": {"type": "boolean", "default": True, "description": "Whether a long text is cut, or refused."},
        "details": {
            "type": "boolean",
            "default": False,
            "description": "The cells of a file's row, too, and what was cut.",
        },
    }
    hub = {
        "inputs": {
            "description": "What the model's task asks; a list asks several.",
            "oneOf": [TEXT, {"type": "object"}, batch],
        },
        "parameters": {
            "type": "object",
            "properties": {
                "top_k": {"type": "integer", "minimum": 1},
                "function_to_apply": {"enum": ["sigmoid", "softmax", "none"]},
            },
        },
    }
    tei = "Answer texts, in the shape of text-embeddings-inference"
    file = "Label the rows of a CSV, JSON lines, Parquet file or spreadsheet, which is the body"
    return {
        "openapi": "3.1.0",
        "info": {"title": "Filbert", "version": __version__, "description": "Finished models over HTTP."},
        "paths": {
            "/predict": {"post": _posted(tei, predict, MODEL)},
            "/models/{name}/predict": {"post": _posted(tei, predict, NAME)},
            "/models/{name}": {"post": _posted("Answer texts, in the shape of the hub's inference API", hub, NAME)},
            "/models/{name}/file": {"post": _filed(file)},
            "/info": {"get": _got("What is served: models, versions, labels, limits")},
            "/health": {"get": _got("Whether every model's process is there")},
            "/metrics": {"get": _got("Counters for Prometheus")},
            "/docs": {"get": _got("This description, for people")},
        },
        "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


def _posted(summary: str, properties: Json, parameter: Json) -> Json:
    schema = {"type": "object", "required": ["inputs"], "properties": properties}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"summary": summary, "parameters": [parameter], "requestBody": body, "responses": _responses(PROBLEMS)}


def _filed(summary: str) -> Json:
    name = {
        "name": "name",
        "in": "query",
        "schema": {"type": "string"},
        "description": "The file's name; its suffix counts.",
    }
    body = {"required": True, "content": {"application/octet-stream": {}}}
    return {"summary": summary, "parameters": [NAME, name], "requestBody": body, "responses": _responses(PROBLEMS)}


def _got(summary: str) -> Json:
    return {"summary": summary, "responses": _responses({})}


def _responses(problems: Json) -> Json:
    return {code: {"description": text} for code, text in {"200": "Answered", **problems}.items()}
