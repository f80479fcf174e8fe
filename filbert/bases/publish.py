"""Push a model folder to the Hugging Face hub, and pull one: whole, compared with its manifest, and nothing else.

Pushed are the files that a model is opened from, its manifest and its card. What was made of texts stays here: report,
log, rejects, checkpoints, the numbers of seen texts, and, unless asked for, the texts stored in the manifest. The token
is that of HF_TOKEN or of `hf auth login`; it is never an argument and never shown.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filbert.bases.hub import brief, endpoint, fetch, hub_name
from filbert.errors import ConfigError, ModelError
from filbert.files import draft_folder, read_json, write_json
from filbert.folder.open import BESIDE, MODEL_FILES, open_base, open_model_parts
from filbert.owned import MANIFEST, finished

CARD = "README.md"
MORE = (MANIFEST, *BESIDE, CARD)
TEXTS = ("stored",)  # of the manifest
SECONDS = 30.0  # that the hub may take to answer


def push(folder: Path, repo: str, *, public: bool = False, message: str = "", texts: bool = False) -> dict[str, Any]:
    """Upload a model in one commit and return its address, the commit and the names of its files.

    A repository that is not there is made, private unless `public`. `texts` pushes the texts, too, that the model is
    verified by. Raises ModelError where the folder is no whole
    model, ConfigError where the hub refuses.

    >>> push(Path("runs/reviews"), "me/reviews")["files"][0]  # doctest: +SKIP
    'README.md'
    """
    if not finished(folder):
        raise ModelError(f"{folder} — is no model of Filbert's — give the run folder that `filbert fit` wrote")
    info = _checked(folder)
    with draft_folder(folder.resolve()) as draft:
        write_json(draft / MANIFEST, {key: value for key, value in info.items() if texts or key not in TEXTS})
        names = (CARD, *MODEL_FILES, *(name for name in BESIDE if name in info["files"]))
        files = {name: folder / name for name in names if (folder / name).is_file()}
        files[MANIFEST] = draft / MANIFEST
        commit, url = _upload(repo, files, public=public, message=message or "Upload a model made with Filbert")
    return {"repo": repo, "url": url, "commit": commit, "files": sorted(files)}


def _checked(folder: Path) -> dict[str, Any]:
    """Open a model or a base and return its manifest; ModelError where they do not belong together."""
    info = read_json(folder / MANIFEST)
    (open_model_parts if "settings" in info else open_base)(folder)
    return info


def _upload(repo: str, files: Mapping[str, Path], *, public: bool, message: str) -> tuple[str, str]:
    import huggingface_hub
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HFValidationError

    if huggingface_hub.get_token() is None:
        raise ConfigError("the hub needs a token to push — set HF_TOKEN, or log in: hf auth login")
    api = HfApi(endpoint=endpoint())
    try:
        api.create_repo(repo, private=not public, exist_ok=True)
        changes: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(name, str(path)) for name, path in files.items()
        ]
        gone = (name for name in BESIDE if name not in files)
        changes += [CommitOperationDelete(name) for name in gone if api.file_exists(repo, name)]  # of the one before
        done = api.create_commit(repo, changes, commit_message=message)
    except HFValidationError as error:
        raise ConfigError(f"{repo} — is no name of a repository: {brief(error)} — write OWNER/NAME") from None
    except Exception as error:  # of httpx or requests, by huggingface_hub's version
        status = getattr(getattr(error, "response", None), "status_code", None)
        todo = {401: "check the token", 403: "check that the token may write there", 404: "check the owner's name"}
        what = f"{hub_name()} refuses: {brief(error)}" if status else f"{hub_name()} cannot be reached: {brief(error)}"
        raise ConfigError(f"{repo} — {what} — {todo.get(status or 0, 'try again, or set HF_ENDPOINT')}") from None
    return str(done.oid), f"{endpoint()}/{repo}"


def pull(repo: str, out: Path, *, revision: str | None = None) -> dict[str, Any]:
    """Download a model into a new folder, compared with its SHA-256, and return the commit and the folder.

    Any BERT classifier may be pulled; one that Filbert made is compared with its manifest, too. Raises ConfigError
    where `out` is there already, ModelError where the model cannot be had or used.

    >>> pull("me/reviews", Path("runs/reviews"))["commit"]  # doctest: +SKIP
    '5d9c…'
    """
    if out.exists():
        raise ConfigError(f"{out} exists — give another folder with -o")
    out.parent.mkdir(parents=True, exist_ok=True)
    choices = "a model that is there"
    folder = fetch(repo, revision, SECONDS, choices=choices, offline="a folder on this machine", more=MORE)
    with draft_folder(out) as draft:
        new = draft / "model"
        shutil.copytree(folder, new)  # what the cache links to is copied
        if (new / MANIFEST).is_file():
            _checked(new)
        new.rename(out)
    return {"repo": repo, "commit": folder.name, "out": str(out)}
