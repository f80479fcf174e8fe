"""Export a model: write its files, measure them beside the model, and publish them only where they answer alike.

    model folder → graph → draft folder → gate.py → OUT

OUT holds the model in its format, the tokenizer, config.json (labels), filbert.json (task, settings with thresholds,
longest text, what was measured, the SHA-256 of every file; no texts; a temperature is part of the weights) and
example.py; of a blend also the linear model, which example.py adds to the exported BERT. It is made as a whole: an
export that is refused leaves nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from filbert.errors import ConfigError, ModelError
from filbert.export import gate
from filbert.export.doors import DOORS
from filbert.export.example import example
from filbert.export.formats import Format, format_of
from filbert.files import draft_folder, read_json, sha256, write_json, write_text
from filbert.folder.linear_parts import BLEND
from filbert.folder.open import FORMAT
from filbert.inference.engine import Engine
from filbert.inference.model import Model, open_model
from filbert.inference.onnx_scorer import GraphScorer
from filbert.inference.stored import replay, texts_of
from filbert.model.onnx_graph import bert_graph
from filbert.owned import MANIFEST, finished, refuse_inputs
from filbert.records import Example

KEPT = ("blend", "task", "settings", "columns", "name", "max_length", "long_texts", "base", "data_fingerprint")
EXPORT = "export"  # the key of filbert.json that marks an export

Tell = Callable[[gate.Measured], None]


def export(
    folder: Path,
    out: Path,
    format_name: str,
    examples: Sequence[Example] = (),
    *,
    int8: bool = False,
    overwrite: bool = False,
    tell: Tell = lambda measured: None,
    done: Callable[[int, int], None] = lambda done, total: None,
) -> gate.Measured:
    """Write a model folder for another runtime and return what was measured, which `tell` hears before it is judged.

    Without `examples` fp32 is measured on the texts stored in the manifest. Raises ModelError where the export is
    outside its bars; ConfigError where the format is unknown, its package missing, OUT taken, or there are no texts.
    """
    format_ = format_of(format_name)
    refuse_taken(out, overwrite=overwrite, inputs=(folder,))
    model = open_model(folder)
    texts = [*examples] or [Example(each) for each in texts_of(model.info)]
    gate.check_texts(texts, int8=int8)
    torch = next(door for door in DOORS if door.name == "torch")  # another library than the one that is exported to
    exact = Engine(model, cascade=False, scorer=None if torch.missing(model) else torch.scorer(folder, model))
    out.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(out) as above:
        draft = above / "export"
        draft.mkdir()
        _write(model, folder, draft, format_, int8=int8)
        run = format_.opened(draft)
        exported = Engine(model, cascade=False, scorer=GraphScorer(model.head, run))
        sizes = (
            _bytes(folder.glob("*.safetensors")),
            _bytes(path for path in draft.iterdir() if path.name in (*format_.files, BLEND)),
        )
        found = gate.measure((exact, exported), texts, sizes, gate.INT8 if int8 else gate.EXACT, done)
        tell(found)
        if found.missed:
            todo = gate.todo(found, format_.name, int8=int8)
            raise ModelError(f"{out} — was not written: {'; '.join(found.missed)} — {todo}")
        padded = Engine(model, cascade=False, scorer=GraphScorer(model.head, run))
        replay(padded, "int8" if int8 else "fp32")
        _finish(model, draft, format_, {"int8": int8, **found.told()})
        if out.exists():
            out.rename(above / "replaced")
        draft.rename(out)
    return found


def refuse_taken(out: Path, *, overwrite: bool, inputs: Sequence[Path | str | None]) -> None:
    """Raise ConfigError where OUT is an input, holds other files, or an export and `overwrite` is not set."""
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"{out} is a file — give a folder with -o")
    refuse_inputs(out, inputs)
    if not any(out.iterdir()):
        return
    if not (finished(out) and EXPORT in read_json(out / MANIFEST)):
        raise ConfigError(f"{out} holds files that are not an export's — give another folder with -o")
    if not overwrite:
        raise ConfigError(f"{out} holds an export — give another folder with -o, or allow --overwrite")


def _bytes(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def _write(model: Model, folder: Path, draft: Path, format_: Format, *, int8: bool) -> None:
    """Write the model, its tokenizer and its configuration."""
    format_.write(bert_graph(model.config, model.weights, model.head, model.arrays, int8=int8), draft)
    model.tokenizer.save(draft, model.max_length)
    shutil.copyfile(folder / "config.json", draft / "config.json")
    if model.blend is not None:
        shutil.copyfile(folder / BLEND, draft / BLEND)


def _finish(model: Model, draft: Path, format_: Format, told: dict[str, Any]) -> None:
    """Add the example and, last, the manifest."""
    write_text(draft / "example.py", example(format_, model.task, model.head, blended=model.blend is not None))
    files = {path.name: sha256(path) for path in sorted(draft.iterdir()) if path.is_file()}
    kept = {key: model.info[key] for key in KEPT if key in model.info}
    info = {"task": model.task.NAME, "max_length": model.max_length, **kept}
    write_json(draft / MANIFEST, {"format": FORMAT, EXPORT: {"format": format_.name, **told}, **info, "files": files})
