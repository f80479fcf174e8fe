"""The ways to a model's outputs in this process: C++, torch, `transformers`, ONNX, OpenVINO; each scores stored texts.

    stored texts → windows → a door's scorer → task.sureness → largest difference to the stored numbers

The command line, Python and the server, which stand above, are asked by cli/verify.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filbert.export.formats import FORMATS
from filbert.inference.engine import Engine
from filbert.inference.model import Model
from filbert.inference.onnx_scorer import GraphScorer, installed
from filbert.inference.scorer import NativeScorer, Rows, Scorer, TorchScorer
from filbert.inference.stored import apart
from filbert.model.native_encoder import unsupported
from filbert.model.numpy_head import NumpyHead
from filbert.model.onnx_graph import bert_graph
from filbert.model.packing import pack
from filbert.records import Features, FloatArray

BAR = 1e-5  # most a number may differ, in fp32


@dataclass(frozen=True)
class Door:
    """One of them."""

    name: str
    missing: Callable[[Model], str]
    """Return why it is not here, or nothing."""
    scorer: Callable[[Path, Model], Scorer]
    """Open a model's folder, which is open as a Model, too."""


def largest(door: Door, folder: Path, model: Model) -> float:
    """Return the largest difference of a number to what was stored with the model."""
    return max(apart(Engine(model, cascade=False, scorer=door.scorer(folder, model))), default=0.0)


class TransformersScorer:
    """A model opened by `transformers`; where it has no class for the head, the head is numpy's (numpy_head.py)."""

    def __init__(self, folder: Path, model: Model) -> None:
        import transformers

        transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        self._model: Any = getattr(transformers, model.task.HUB[0]).from_pretrained(folder).float().eval()
        self._head = NumpyHead(model.head, model.config, model.arrays)

    def outputs(self, features: Sequence[Features], done: Callable[[int], None] = lambda texts: None) -> Rows:
        """Return the head's outputs for each text, scored by itself."""
        found = [self._outputs(each) for each in features]
        done(len(found))
        head = self._head.head
        return np.array(found).reshape(len(found), head.width) if head.one_row else found

    def _outputs(self, text: Features) -> FloatArray:
        import torch

        with torch.inference_mode():
            given = {
                "input_ids": torch.as_tensor(text.ids)[None],
                "token_type_ids": torch.as_tensor(text.segments)[None],
            }
            more = {"output_hidden_states": True} if self._head.head.weighed else {}
            out = self._model(**{name: tensor.long() for name, tensor in given.items()}, **more)
        if self._head.head.weighed:  # the weight of a window is no output of theirs
            weight = self._head.first(out.hidden_states[-1][0, :1].numpy())[0, -1:]
            return np.concatenate((out.logits[0].double().numpy(), weight))
        if "last_hidden_state" in out:
            return self._head.by_text(out.last_hidden_state[0].numpy(), pack([text]))[0]
        parts = [each[0].double().numpy() for each in out.to_tuple()]  # logits, or those of start and of end
        return parts[0] if len(parts) == 1 else np.stack(parts, axis=-1)


def _torch(folder: Path, model: Model) -> Scorer:
    from filbert.folder.torch_parts import network_of

    return TorchScorer(network_of(model.config, model.weights, model.head, model.arrays), "cpu", "fp32")


def _without(*packages: str) -> Callable[[Model], str]:
    def missing(model: Model) -> str:
        absent = [package for package in packages if not installed(package)]
        return f"{' and '.join(absent)} not installed" if absent else ""

    return missing


def _exported(name: str) -> Callable[[Path, Model], Scorer]:
    """Return what writes a model in a format, opens its file, and gives it texts padded to one length."""

    def scorer(folder: Path, model: Model) -> Scorer:
        with tempfile.TemporaryDirectory() as draft:
            FORMATS[name].write(bert_graph(model.config, model.weights, model.head, model.arrays), Path(draft))
            return GraphScorer(model.head, FORMATS[name].opened(Path(draft)))

    return scorer


DOORS = (
    Door("C++", lambda model: unsupported(model.config) or "", lambda folder, model: NativeScorer(model, "fp32")),
    Door("torch", _without("torch"), _torch),
    Door("transformers", _without("transformers", "torch"), TransformersScorer),
    Door("ONNX", _without("onnxruntime"), _exported("onnx")),
    Door("OpenVINO", _without("openvino"), _exported("openvino")),
)
