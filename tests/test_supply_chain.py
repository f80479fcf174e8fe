"""What the serving image installs is locked by hash, as pyproject.toml asks, and names no machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.serve.txt").read_text("utf-8")
LOCKED = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)(.*(?:\n    .*)*)", LOCK, re.M)


def test_every_locked_package_has_its_hashes() -> None:
    assert len(LOCKED) > 30
    assert [name for name, _, rest in LOCKED if not re.search(r"--hash=sha256:[0-9a-f]{64}", rest)] == []
    assert "torch" not in {name for name, _, _ in LOCKED}


def test_the_lock_names_no_machine() -> None:
    assert re.findall(r"https?://|--index|--find-links|--trusted-host|file:", LOCK) == []


def test_the_lock_is_of_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    asked = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["serve"]])
    versions = {canonicalize_name(name): version for name, version, _ in LOCKED}
    wanted = [one for one in asked if one.marker is None or one.marker.evaluate({"python_version": "3.12"})]
    assert len(wanted) > 15
    assert [str(one) for one in wanted if versions.get(canonicalize_name(one.name)) not in one.specifier] == []


def test_the_image_installs_by_hash_and_nothing_beside_it() -> None:
    docker = (ROOT / "Dockerfile").read_text("utf-8")
    assert "--require-hashes -r /src/requirements.serve.txt" in docker
    assert "--no-deps /src" in docker
    assert "!requirements.serve.txt" in (ROOT / ".dockerignore").read_text("utf-8")
