"""How threads wait for each other: asleep where the user says nothing, and never for ever."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import filbert

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SAID = "import os, filbert; print(*(os.environ.get(name) for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT')))"


@pytest.mark.parametrize(
    ("given", "found"),
    [({}, "PASSIVE None"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE None"), ({"GOMP_SPINCOUNT": "7"}, "None 7")],
)
def test_threads_wait_asleep_unless_the_user_says_otherwise(given: dict[str, str], found: str) -> None:
    environment = {**{key: value for key, value in os.environ.items() if key not in VARIABLES}, **given}
    done = subprocess.run([sys.executable, "-c", SAID], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found


POOL = r"""
#include "pool.h"

#include <cstdio>
int main() {
  Pool pool(4);
  std::vector<long> done(4);
  long wanted = 0, seen = 0;
  for (int round = 0; round < 4000; ++round) {
    const int count = round % 13;
    pool.run(count, [&](int i, int thread) { done[thread] += i + 1; });
    for (int i = 0; i < count; ++i) wanted += i + 1;
    seen = done[0] + done[1] + done[2] + done[3];
    if (seen != wanted) break;
  }
  std::printf("%s", seen == wanted ? "whole" : "lost");
}
"""


def test_every_task_of_the_pool_is_done_before_it_returns(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    source, program = tmp_path / "pool.cpp", tmp_path / "pool"
    source.write_text(POOL)
    headers = Path(filbert.__file__).parent / "native" / "shared"
    subprocess.run([compiler, "-O2", "-std=c++17", "-pthread", f"-I{headers}", source, "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "whole"
