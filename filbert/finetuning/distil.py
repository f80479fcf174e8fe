"""A small model that learns from what a larger one answers (Hinton et al. 2015): `filbert distil`.

    texts → teachers' probabilities (averaged) → softened by a temperature → the student is trained on them → run folder

The texts need no labels. What the teachers gave is kept in the scratch folder of the run, a chunk of texts at a time,
so that a stopped run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from filbert.bases.load import files_of
from filbert.config import SIZES, TrainConfig
from filbert.data.splits import make_splits
from filbert.errors import ConfigError, counted
from filbert.files import content_sha256, files_sha256, read_sealed, write_sealed, write_tensors
from filbert.finetuning.dataset import Dataset, Soft
from filbert.finetuning.fit import Fitted, fit
from filbert.folder.claim import claim, locked, refuse_taken
from filbert.inference.comparing import refuse_different
from filbert.inference.engine import Engine, load
from filbert.owned import MANIFEST, SCRATCH
from filbert.progress import Silent, Watcher
from filbert.records import Example, FloatArray, Prediction
from filbert.tasks.task import Json, Outputs
from filbert.text.same import same_key
from filbert.text.visible import visible
from filbert.training.checkpoints import ANEW, refuse_changes

STUDENT = "filbert-mini"
TEMPERATURE = 2.0  # as DistilBERT (Sanh et al. 2019)
CHUNK = 2_048  # texts whose answers are kept together
ASKED = "teachers.json"  # who answered what, and how
FEWEST = 20  # texts


def base_of(size: str | None, base: str | None) -> str:
    """Return the base of a student: `mini` is filbert-mini, another size begins at random. Raises ConfigError.

    >>> base_of("mini", None), base_of("small", None), base_of(None, "minilm"), base_of(None, None)
    ('filbert-mini', 'small', 'minilm', 'filbert-mini')
    """
    if size is not None and base is not None:
        raise ConfigError("--size and --base exclude each other — give one of them")
    if size is not None and size not in SIZES:
        raise ConfigError(f"size is {size} — choose {', '.join(SIZES)}")
    return base or (STUDENT if size in (None, "mini") else size or STUDENT)


def distil(
    teachers: Sequence[str | Path],
    texts: Sequence[tuple[str, ...]],
    out: str | Path,
    *,
    base: str = STUDENT,
    temperature: float = TEMPERATURE,
    validation: Sequence[Example] = (),
    test: Sequence[Example] = (),
    config: TrainConfig | None = None,
    device: str | None = None,
    overwrite: bool = False,
    name: str = "texts",
    source: str = "memory",
    compare: bool = False,
    command: str = "",
    watch: Watcher | None = None,
) -> Fitted:
    """Train a student of `base` on what the teachers answer to texts, and leave a finished run folder at `out`.

    `teachers` are run folders of one task and its labels; several are averaged. `texts` are texts, or pairs, without
    targets; those of `validation` and `test`, which have some, are left out of them. Without `validation` a tenth of
    the texts is kept for choosing the best step by what the teachers answer. `temperature` softens the probabilities.
    Raises ConfigError, DataError, ModelError and TrainingError.

    >>> distil(["runs/teacher"], [("A text.",), ("Another.",)], "runs/student")  # doctest: +SKIP
    """
    watch, out, config = watch or Silent(), Path(out), config or TrainConfig()
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"temperature is {temperature:g} — give a number above 0, 2 for instance")
    if config.balance != "none":
        raise ConfigError("balance weighs labels, and a student learns probabilities — leave it out")
    folders = [Path(each) for each in teachers]
    engines = [load(each, device=device, precision="auto", cascade=False, abstain=0) for each in folders]
    _check_teachers(engines, folders)
    refuse_taken(out, overwrite=overwrite, inputs=(*folders, source, base))
    kept = _unseen(texts, [*validation, *test], engines[0], watch)
    with locked(out):
        claim(out, overwrite=overwrite)
        asking = _Asking(engines, out / SCRATCH / "answers", [_digest(each) for each in folders], watch)
        data = _dataset(asking, kept, folders, (validation, test), name=name, heat=temperature, seed=config.seed)
        _note(out, data, temperature)
    for line in data.splits.found:
        watch.say(line)
    return fit(
        data,
        out,
        name=name,
        source=source,
        base=base,
        config=config,
        device=device,
        compare=compare,
        blend=False,
        command=command,
        watch=watch,
    )


def _check_teachers(engines: Sequence[Engine], folders: Sequence[Path]) -> None:
    """Refuse teachers that no student can learn from, or not together."""
    task = engines[0].task
    if task.DISTIL:
        raise ConfigError(f"{folders[0]} — no student can learn from this model: {task.DISTIL}")
    refuse_different(engines, folders)
    for engine, folder in zip(engines, folders, strict=True):
        if task.saved(engine.settings) != task.saved(engines[0].settings) or engine.texts != engines[0].texts:
            wrong = (
                f"{folder} — has other labels than {folders[0]}, or in another order, or reads another number of texts"
            )
            raise ConfigError(f"{wrong} — give teachers that were fitted on texts with the same labels")


def _digest(folder: Path) -> str:
    return files_sha256(folder, {MANIFEST, *files_of(folder)})


def _unseen(
    texts: Sequence[tuple[str, ...]], held_out: Sequence[Example], teacher: Engine, watch: Watcher
) -> list[tuple[str, ...]]:
    """Return texts as a model reads them, each once, without those that are held out."""
    wanted = teacher.texts
    held, found = {same_key(example.inputs) for example in held_out}, dict[bytes, tuple[str, ...]]()
    left_out = 0
    for inputs in texts:
        if wanted is not None and len(inputs) != wanted:
            raise ConfigError(f"the teacher reads {counted(wanted, 'text')} each time, and here are {len(inputs)}")
        if not all(map(visible, inputs)):
            continue
        if (key := same_key(inputs)) in held:
            left_out += 1
        else:
            found.setdefault(key, inputs)
    if left_out:
        watch.say(f"{counted(left_out, 'text')} left out: in validation or test, too")
    if len(found) < FEWEST:
        raise ConfigError(
            f"there are {counted(len(found), 'text')} to learn from — give at least {FEWEST} different ones"
        )
    return list(found.values())


@dataclass
class _Asking:
    """Teachers, and where what they gave is kept."""

    engines: Sequence[Engine]
    folder: Path
    digests: Sequence[str]
    watch: Watcher

    def outputs(self, inputs: Sequence[tuple[str, ...]]) -> Outputs:
        """Return what the teachers give, averaged: N × 1 × O."""
        found = []
        for begin in range(0, len(inputs), CHUNK):
            found.append(self._chunk(inputs[begin : begin + CHUNK]))
            self.watch.progress("asking the teacher", min(begin + CHUNK, len(inputs)), len(inputs))
        return np.concatenate(found)

    def _chunk(self, inputs: Sequence[tuple[str, ...]]) -> FloatArray:
        file = self.folder / f"{content_sha256([self.digests, inputs])[:32]}.safetensors"
        if file.is_file():
            try:
                return np.asarray(load_file(str(file))["outputs"])
            except (SafetensorError, KeyError):
                file.unlink()
        task, settings = self.engines[0].task, self.engines[0].settings
        given = [engine.outputs(engine.features(inputs)) for engine in self.engines]
        found = np.asarray(given[0] if len(given) == 1 else task.averaged(given, settings), dtype=np.float64)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_tensors(file, {"outputs": torch.from_numpy(found).contiguous()})
        return found


def _dataset(
    asking: _Asking,
    texts: Sequence[tuple[str, ...]],
    folders: Sequence[Path],
    given: tuple[Sequence[Example], Sequence[Example]],
    *,
    name: str,
    heat: float,
    seed: int,
) -> Dataset:
    """Return the texts with the teachers' answers as targets, divided, and what the student learns of each."""
    teacher, (validation, test) = asking.engines[0], given
    task, settings = teacher.task, teacher.settings
    outputs = np.asarray(asking.outputs(texts))
    answers = task.decode(outputs, settings)
    examples = [Example(inputs, task.answered(answer, settings)) for inputs, answer in zip(texts, answers, strict=True)]
    number = {id(example): n for n, example in enumerate(examples)}
    splits = make_splits(examples, task.strata, seed, validation=validation, test=test, name=name, each=task.EXAMPLE)
    random, drawn = np.random.default_rng(seed), list[Example]()
    held: dict[str, Sequence[Prediction]] = {}
    for split in ("validation", "test"):
        part = splits.parts.get(split, [])
        if split == "validation" and splits.made:
            held[split] = [answers[number[id(example)]] for example in part]
            drawn = [
                replace(example, target=task.answered(answer, settings, random))
                for example, answer in zip(part, held[split], strict=True)
            ]
        elif part:
            held[split] = task.decode(asking.outputs([example.inputs for example in part]), settings)
    taught = [number[id(example)] for example in splits.train]
    facts: Json = {
        "teachers": [_described(engine, folder) for engine, folder in zip(asking.engines, folders, strict=True)],
        "temperature": heat,
        "texts": len(splits.train),
    }
    identity = content_sha256([asking.digests, heat])
    soft = Soft(task.soften(outputs[taught], settings, heat), heat, identity, held, drawn, facts)
    columns = teacher.info.get("columns") or {}
    return Dataset(task, settings, splits, [], task.described(splits.parts, settings)[1], columns, soft=soft)


def _described(engine: Engine, folder: Path) -> Json:
    return {
        "folder": str(folder),
        "name": engine.info.get("name") or folder.name,
        "base": engine.info.get("base"),
        "layers": engine.config.layers,
        "hidden": engine.config.hidden,
    }


def _note(out: Path, data: Dataset, temperature: float) -> None:
    """Note what the run is of, by which it may be resumed; refuse another one in its place."""
    assert data.soft is not None
    now = {"data": data.splits.fingerprint, "teachers": data.soft.identity, "temperature": temperature}
    file = out / SCRATCH / ASKED
    if file.is_file():
        refuse_changes(read_sealed(file, ANEW)["identity"], now, out / SCRATCH)
    write_sealed(file, {"identity": now})
