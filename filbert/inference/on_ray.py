"""Score the chunks of files on a Ray cluster, by Ray Data: a worker reads the files, others score, this process writes.

The files and the model must stand under the same path on every machine, and Filbert must be installed there. Each
chunk comes back with the SHA-256 of its texts, so that files which are not the same everywhere are noticed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from filbert.errors import ConfigError, FilbertError
from filbert.inference.engine import chunks
from filbert.inference.kept import Score, digest
from filbert.inference.opening import Opening
from filbert.inference.rows import Pairs, Scored, scored_rows
from filbert.model.native_encoder import processors
from filbert.readers.options import ReadOptions
from filbert.readers.shards import Shards
from filbert.records import Example

HOME = str(Path(__file__).parents[2])
MISSING = "--ray — needs Ray — pip install 'filbert[ray]'"


@contextmanager
def ray_scoring(address: str, count: int | None, opening: Opening, shards: Shards) -> Iterator[Score]:
    """Connect to a cluster, or start one here for "local", and give what scores the chunks of these files in order.

    `count` processes score, by default one on each machine; each has its share of the processors.
    """
    try:
        import ray
    except ImportError:
        raise ConfigError(MISSING) from None
    quiet = {"log_to_driver": False, "include_dashboard": False} if address == "local" else {}
    path = os.pathsep.join(filter(None, (HOME, os.environ.get("PYTHONPATH"))))
    environment = {"env_vars": {"PYTHONPATH": path}} if address == "local" else None
    try:
        ray.init(address=address, runtime_env=environment, num_cpus=processors() if quiet else None, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(f"--ray {address} — {str(error)[:200]} — give the address of a running cluster") from None
    try:
        workers = count or max(1, sum(node["Alive"] for node in ray.nodes()))
        threads = max(1, int(ray.cluster_resources().get("CPU", 1)) // workers)

        def score(given: Iterator[list[Example]], done: int) -> Pairs:
            texts = partial(_texts, shards.files, replace(shards.options, on_bad_rows="error"), done)
            found = _scored(texts, opening, workers, threads)
            for chunk, (told, rows) in zip(given, found, strict=True):
                if told != digest(chunk):
                    todo = "give files that are the same on every machine"
                    raise ConfigError(f"{chunk[0].place} — is read otherwise on the cluster than here — {todo}")
                yield chunk, rows

        yield score
    finally:
        ray.shutdown()


def _texts(files: Sequence[str], options: ReadOptions, done: int) -> Iterator[tuple[str, str]]:
    """Read the files, on a worker: of each chunk after the first `done` the SHA-256, and its texts as JSON."""
    for chunk in islice(chain.from_iterable(map(chunks, Shards(files, options).parts())), done, None):
        yield digest(chunk), json.dumps([example.inputs for example in chunk])


def _scored(
    texts: Callable[[], Iterable[tuple[str, str]]], opening: Opening, workers: int, threads: int
) -> Iterator[tuple[str, list[Scored]]]:
    import pyarrow as pa
    import ray.data
    from ray.data.block import BlockMetadata
    from ray.exceptions import RayError

    class Files(ray.data.Datasource):  # type: ignore[misc]
        def estimate_inmemory_data_size(self) -> int | None:
            return None

        def get_read_tasks(self, *_: Any, **__: Any) -> list[Any]:
            about = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            read = lambda: (pa.table({"digest": [told], "texts": [text]}) for told, text in texts())  # noqa: E731
            return [ray.data.ReadTask(read, about)]

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.target_max_block_size = context.target_min_block_size = 1  # bytes: each chunk by itself, else all go to one
    gpus = {"num_gpus": 1} if (opening.device or "").startswith("cuda") else {}
    pool = ray.data.ActorPoolStrategy(size=workers)
    found = ray.data.read_datasource(Files(), override_num_blocks=1, num_cpus=0).map_batches(
        _Scorer, fn_constructor_args=(opening,), batch_size=1, compute=pool, num_cpus=threads, **gpus
    )
    try:
        for row in found.iter_rows():
            yield row["digest"], [Scored(*told) for told in json.loads(row["rows"])]
    except RayError as error:
        cause = getattr(error, "cause", error)
        if isinstance(cause, FilbertError):
            raise cause from None
        raise OSError(f"ray — {str(error).strip().splitlines()[-1][:200]} — see Ray's logs") from None


class _Scorer:
    """A worker with the model open."""

    def __init__(self, opening: Opening) -> None:
        self._engine = opening.engine()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = [
            json.dumps([row.told() for row in scored_rows(self._engine, [tuple(one) for one in json.loads(texts)])])
            for texts in batch["texts"]
        ]
        return {"digest": batch["digest"], "rows": rows}
