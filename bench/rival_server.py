"""A classifier behind FastAPI and a `transformers` pipeline: what bench/serve_load.py measures beside ours.

python bench/rival_server.py FOLDER PORT
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

THREADS = 2


class Request(BaseModel):
    """What ours takes, too."""

    inputs: str


def main() -> None:
    torch.set_num_threads(THREADS)
    folder, port = sys.argv[1:]
    classify = pipeline("text-classification", model=folder, top_k=None, truncation=True)
    app = FastAPI()

    @app.post("/predict")
    def predict(request: Request) -> Any:
        with torch.inference_mode():
            return classify(request.inputs)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    uvicorn.run(app, port=int(port), access_log=False, log_level="warning")


# FastAPI looks up the annotations of a route by name, so they stand at the top of the module.
if __name__ == "__main__":
    main()
