"""The formats of an export: how the graph of a model is written, opened again, and asked in a few lines of Python.

bert_graph (model/onnx_graph.py) → model.onnx, or OpenVINO's own converter → openvino_model.xml, .bin
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filbert.errors import ConfigError, shown
from filbert.inference.onnx_scorer import Run, installed, session_of_file
from filbert.model.native_encoder import processors
from filbert.model.onnx_file import size
from filbert.model.onnx_graph import OUTPUT, BertGraph

LARGEST = (1 << 31) - 1  # bytes of a file of protocol buffers


@dataclass(frozen=True)
class Format:
    """A format."""

    name: str
    package: str
    """What it takes to run it, as Python and pip call it."""
    files: tuple[str, ...]
    write: Callable[[BertGraph, Path], None]
    """Write the files of a graph into a folder."""
    opened: Callable[[Path], Run]
    """Open the files of a folder in fp32 on this machine's CPU."""
    opened_by: str
    """The lines of Python that open the files of `folder` and define `run`: feed → output."""


def write_onnx(graph: BertGraph, folder: Path) -> None:
    """Write `model.onnx`; ConfigError where it would be larger than a file of its kind can be."""
    parts = graph.file()
    if size(parts) > LARGEST:
        raise ConfigError(
            f"the model takes {size(parts) / 1e9:.1f} GB, and an ONNX file 2.1 at most — export with --int8"
        )
    with (folder / "model.onnx").open("wb") as file:
        file.writelines(parts)


def open_onnx(folder: Path) -> Run:
    """Open `model.onnx`."""
    session = session_of_file(str(folder / "model.onnx"))
    return lambda feed: session.run([OUTPUT], feed)[0]


def write_openvino(graph: BertGraph, folder: Path) -> None:
    """Write `openvino_model.xml` and `.bin`; the weights as they are, not in fp16 as OpenVINO does by itself.

    `Core.read_model` is the converter without its telemetry.
    """
    import openvino

    with tempfile.TemporaryDirectory(dir=folder) as draft:
        write_onnx(graph, Path(draft))
        model = openvino.Core().read_model(str(Path(draft) / "model.onnx"))
        openvino.save_model(model, str(folder / "openvino_model.xml"), compress_to_fp16=False)
        del model  # it holds the file open


def open_openvino(folder: Path) -> Run:
    """Open `openvino_model.xml`, to compute in fp32 also where the processor has bf16."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": processors()}
    compiled = openvino.Core().compile_model(str(folder / "openvino_model.xml"), "CPU", options)

    return lambda feed: compiled(feed)[OUTPUT]


FORMATS = {
    "onnx": Format(
        "onnx",
        "onnxruntime",
        ("model.onnx",),
        write_onnx,
        open_onnx,
        'session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])\n'
        "run = lambda feed: session.run(None, feed)[0]\n",
    ),
    "openvino": Format(
        "openvino",
        "openvino",
        ("openvino_model.xml", "openvino_model.bin"),
        write_openvino,
        open_openvino,
        'options = {"INFERENCE_PRECISION_HINT": "f32"}  # without it, bf16 where the processor has it\n'
        'model = openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", options)\n'
        "run = lambda feed: model(feed)[0]\n",
    ),
}


def format_of(name: str) -> Format:
    """Return the format of a name; ConfigError where there is none, or what it takes is not installed.

    >>> format_of("onnx").files
    ('model.onnx',)
    """
    if name not in FORMATS:
        raise ConfigError(f"--format {shown(name)} is unknown — choose one of {', '.join(FORMATS)}")
    if not installed(FORMATS[name].package):
        raise ConfigError(f"--format {name} needs {FORMATS[name].package} — pip install 'filbert[export]'")
    return FORMATS[name]
