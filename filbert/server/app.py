"""The routes: predictions in two dialects, what is served, whether it is well, what it counted, and the page.

No route names a task, and none waits on the event loop: each asks a line and awaits its answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from filbert import tasks
from filbert.errors import shown
from filbert.server.files import label_file
from filbert.server.limits import Limits
from filbert.server.openapi import described
from filbert.server.pages import page
from filbert.server.replies import checked, hub_reply, predict_reply, reply_headers
from filbert.server.requests import Asking, body_of, hub_asking, parsed, predict_asking
from filbert.server.served import Served
from filbert.server.stats import Stats
from filbert.server.status import Rejected, json_response
from filbert.version import __version__

Ask = Callable[..., Asking]
Reply = Callable[..., Any]
METHODS = {"GET": "GET", "HEAD": "GET", "POST": "POST"}


class App:
    """The application over the models, by name; the first one is asked where a request names none."""

    def __init__(self, models: Mapping[str, Served], limits: Limits) -> None:
        self.models, self.limits, self.stats = models, limits, Stats(models)

    def router(self) -> Router:
        """Return the routes; what goes wrong in them is raised, for the guard to tell."""
        post, get = ["POST"], ["GET"]
        routes = [
            Route("/", self.root, methods=["GET", "POST"]),
            Route("/predict", self.predict, methods=post),
            Route("/models/{name}", self.hub, methods=post),
            Route("/models/{name}/predict", self.predict, methods=post),
            Route("/models/{name}/file", self.file, methods=post),
            Route("/info", self.info, methods=get),
            Route("/health", self.health, methods=get),
            Route("/metrics", self.metrics, methods=get),
            Route("/openapi.json", self.openapi, methods=get),
            Route("/docs", self.docs, methods=get),
        ]
        return Router(routes, redirect_slashes=False)

    def served(self, request: Request) -> Served:
        """Return the model that a request names; Rejected where there is none of that name."""
        name = request.path_params.get("name") or request.query_params.get("model") or next(iter(self.models))
        if name not in self.models:
            raise Rejected(404, f"model {shown(name)} — is not served — choose of {', '.join(self.models)}", ["model"])
        return self.models[name]

    async def root(self, request: Request) -> Response:
        """The page, or for a client whose base address this is, an answer."""
        return await self.hub(request) if request.method == "POST" else page("page.html")

    async def predict(self, request: Request) -> Response:
        """Answer in the shape of text-embeddings-inference."""
        return await self._answer(request, predict_asking, predict_reply, "predict")

    async def hub(self, request: Request) -> Response:
        """Answer in the shape of the hub's inference API."""
        return await self._answer(request, hub_asking, hub_reply, "hub")

    async def _answer(self, request: Request, ask: Ask, reply: Reply, route: str) -> Response:
        request.scope["filbert.route"] = route
        began, served = time.monotonic(), self.served(request)
        told = parsed(await body_of(request.scope, request.receive, self.limits.body), self.limits)
        ready, read = served.ready, time.monotonic()
        asking = ask(told, tasks.named(ready.task).asked, ready.texts, self.limits, whole=ready.whole)
        found = await served.ask(asking.items, alive_of(request))
        checked(found, asking)
        self.stats.stages(found, time.monotonic() - began)
        return json_response(reply(found, asking), headers=reply_headers(found, asking, began, read))

    async def file(self, request: Request) -> Response:
        """Label the rows of a file."""
        request.scope["filbert.route"] = "file"
        return await label_file(request, self.served(request), self.limits, alive_of(request))

    async def info(self, request: Request) -> Response:
        """Tell what is served, the first model as text-embeddings-inference does, and all of them in a list."""
        request.scope["filbert.route"] = "info"
        models = [self._info(each) for each in self.models.values()]
        return json_response({**models[0], "version": __version__, "models": models})

    def _info(self, served: Served) -> dict[str, Any]:
        ready = served.ready
        labels = {key: value for key, value in ready.saved.items() if key in ("id2label", "label2id")}
        return {
            "model_id": served.name,
            "model_sha": ready.version,
            "model_dtype": ready.precision,
            "model_type": {"classifier": labels} if labels else {},
            "task": ready.task,
            "pipeline_tag": ready.kind,
            "texts": ready.texts,
            "columns": list(ready.types),
            "columns_read": ready.columns.get("inputs", []),
            "max_input_length": ready.max_length,
            "max_client_batch_size": self.limits.items,
            "max_characters": self.limits.characters,
            "auto_truncate": True,
        }

    async def health(self, request: Request) -> Response:
        """Say whether every model's process is there."""
        request.scope["filbert.route"] = "health"
        down = [each.name for each in self.models.values() if not each.up]
        if down:
            raise Rejected(503, f"{len(down)} of {len(self.models)} models are being started again")
        return json_response({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """Return the counters."""
        request.scope["filbert.route"] = "metrics"
        return Response(self.stats.text(), media_type="text/plain; version=0.0.4")

    async def openapi(self, request: Request) -> Response:
        """Describe the routes."""
        return json_response(described(self.limits))

    async def docs(self, request: Request) -> Response:
        """Describe them for people."""
        return page("docs.html")


def alive_of(request: Request) -> Callable[[], bool]:
    """Return what says whether a request's client is still connected."""
    found: Callable[[], bool] = request.scope["state"].get("alive", lambda: True)
    return found
