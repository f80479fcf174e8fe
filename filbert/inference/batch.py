"""Score files into a file, however large they are: in one process, in several, or on a cluster; stopped, it goes on.

shards → chunks → what is kept, then the scorer → rows written in order
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from filbert.errors import ConfigError
from filbert.inference.engine import Engine, chunks
from filbert.inference.kept import Kept, Score, left_whole
from filbert.inference.opening import Known, Opening
from filbert.inference.rows import LAST, Tally, in_lines, result_types, scored_here, write_rows, written_columns
from filbert.inference.writers import check_output, open_writer, reserved, written
from filbert.readers.shards import Shards
from filbert.records import Example

Parts = Iterable[Iterable[Example]]  # the texts of each file


@dataclass(frozen=True)
class Workers:
    """Who scores: this process, several, or the processes of a Ray cluster (its address, or "local")."""

    processes: int | None = None
    ray: str | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether other processes than this one score."""
        return self.ray is not None or (self.processes or 1) > 1


def model_for(opening: Opening, workers: Workers) -> Known | Engine:
    """Open a model: to score in this process, or to know its settings where others score."""
    return opening.known() if workers.elsewhere else opening.engine()


@contextmanager
def scoring(opening: Opening, model: Known | Engine, workers: Workers, shards: Shards | None) -> Iterator[Score]:
    """Give what scores chunks of texts, those of `shards` where they are read on a cluster, too."""
    if isinstance(model, Engine):
        engine = model
        yield lambda found, done: scored_here(engine, found)
    elif workers.ray is not None:
        from filbert.inference.on_ray import ray_scoring

        if shards is None:
            raise ConfigError("--ray scores files, and stdin is none — save it to a file first")
        with ray_scoring(workers.ray, workers.processes, opening, shards) as score:
            yield score
    else:
        from filbert.inference.processes import Processes

        with Processes(opening, workers.processes or 1) as running:
            yield running.scored


def check_target(out: Path, inputs: Sequence[str], model: str, *, overwrite: bool) -> bool:
    """Refuse an output that cannot be written, as `check_output`; return whether what is there may be replaced.

    It may be without `overwrite`, too, where it is the output of the same run, which was stopped when all was done.
    """
    overwrite = overwrite or left_whole(out)
    check_output(out, inputs, (model,), overwrite=overwrite)
    return overwrite


def score_files(
    model: Known | Engine,
    score: Score,
    parts: Parts,
    columns: Sequence[str],
    out: Path | None,
    *,
    opening: Opening | None = None,
    bom: bool = False,
    overwrite: bool = False,
    done: Callable[[Tally], None] = lambda tally: None,
    say: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Score every text and write it to `out` (None: CSV on stdout), which appears when it is complete.

    With an `opening` what is scored is kept beside `out` until then: a run that is stopped, or that fails, goes on
    where it was, with the same bytes as if it had not been. `done` gets the tally after each row, `say` a sentence.
    """
    types = {**result_types(model), **LAST}
    all_columns, named = written_columns(columns, types)
    grid = chain.from_iterable(map(chunks, parts))
    tally = Tally()

    lines = in_lines(out)
    if out is None or opening is None:
        with open_writer(out, all_columns, named, bom=bom, overwrite=overwrite) as write:
            write_rows(score(grid, 0), types, columns, write, tally, lines=lines, done=done)
        return tally
    with reserved(out, overwrite=overwrite):
        kept = Kept(out, lambda: opening.identity(model), list(types), anew=overwrite)

        def told(tally: Tally) -> None:
            tally.kept = kept.rows
            done(tally)

        try:
            with written(out, all_columns, named, bom=bom) as write:
                write_rows(kept.scored(grid, score), types, columns, write, tally, lines=lines, done=told)
                kept.whole()
            kept.delete()
        except BaseException:
            kept.close()
            if kept.path.exists():
                say(f"{kept.counted:,} rows are scored and kept: the same command goes on from there")
            raise
    if kept.changed:
        wrong = "is not the text that was scored before the run was stopped"
        say(f"warning: {kept.changed} — {wrong} — from there on all are scored again")
    return tally
