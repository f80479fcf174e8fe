"""Run the fuzz targets for long: `python tests/run_fuzz.py [--minutes 10] [TARGET …]`; Ctrl-C goes to the next one.

Each round draws other files. What hypothesis learns of a target stays in fuzz/corpus, the smallest file that fails in
fuzz/findings/TARGET, to be put into the tests. Returns 1 where anything was found.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzzing import MEGABYTES, Files, held, peak  # noqa: E402
from fuzzing_models import MODELS, model_files  # noqa: E402
from fuzzing_server import answered, requests, well  # noqa: E402
from fuzzing_texts import TEXTS  # noqa: E402
from hypothesis import HealthCheck, given, seed, settings  # noqa: E402
from hypothesis.database import DirectoryBasedExampleDatabase  # noqa: E402
from serving import running  # noqa: E402
from small import classifier, save  # noqa: E402

from filbert.server.limits import Limits  # noqa: E402

FUZZ = ROOT / "fuzz"
ROUND = 200  # examples
ADDRESSES = 16 << 30  # bytes of address space, beyond which memory has run out
TARGETS = {**TEXTS, **MODELS}


def rounds(name: str, strategy: Any, check: Callable[[Any], None], minutes: float) -> list[Any]:
    """Check drawn values until the time is over; return the smallest one that failed, if any."""
    kept = DirectoryBasedExampleDatabase(FUZZ / "corpus" / name)
    ends, count, failed = time.monotonic() + 60 * minutes, 0, list[Any]()

    def once(value: Any) -> None:
        nonlocal count
        if time.monotonic() > ends and not failed:
            return
        count += 1
        try:
            check(value)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failed[:] = [value]  # hypothesis calls the smallest one last
            raise

    number = int(time.time())
    try:
        while time.monotonic() < ends and not failed:
            number += 1
            plan = settings(
                max_examples=ROUND,
                deadline=None,
                database=kept,
                suppress_health_check=list(HealthCheck),
                print_blob=False,
            )
            seed(number)(plan(given(strategy)(once)))()
    except KeyboardInterrupt:
        print(f"{name}: interrupted", flush=True)
    except BaseException:
        print(traceback.format_exc()[-3_000:], flush=True)
    print(f"{name}: {count:,} files, {'FAILED' if failed else 'nothing found'}, peak {peak():,.0f} MB", flush=True)
    return failed


def keep(name: str, found: Files) -> None:
    """Write what failed to fuzz/findings."""
    digest = hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:12]
    folder = FUZZ / "findings" / name / digest
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in found.items():
        (folder / file).write_bytes(data)
    print(f"{name}: kept in {folder}", flush=True)


def over_http(minutes: float) -> list[bytes]:
    """Fuzz a server with a model of its own."""
    with tempfile.TemporaryDirectory() as name:
        columns = {"inputs": [["text"]], "target": []}
        folder = save(Path(name) / "films", classifier(hidden=64, intermediate=64), columns=columns)
        with running([folder], limits=Limits(body=1 << 20, characters=1000)) as server:
            found = rounds("http", requests(), lambda data: answered(server, data), minutes)
            well(server)
    return found


def main() -> int:
    """Run the targets that are asked for, one after the other; return 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)}, http [all]")
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES") or 10), help="of each [10]")
    asked = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, resource.RLIM_INFINITY))
    model_files()
    wrong = 0
    for name in asked.targets or [*TARGETS, "http"]:
        if name == "http":
            found: list[Files] = [{"request": data} for data in over_http(asked.minutes)]
        else:
            before, target = peak(), TARGETS[name]
            found = rounds(name, target.files, lambda files, target=target: held(target, files), asked.minutes)
            if peak() - before > MEGABYTES:
                print(f"{name}: MEMORY grew from {before:,.0f} to {peak():,.0f} MB", flush=True)
                wrong += 1
        for files in found:
            keep(name, files)
        wrong += len(found)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
