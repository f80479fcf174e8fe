"""A labelled data set of the Hugging Face hub, by its id: its table files are downloaded, then read as a local folder.

Honours HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and HF_TOKEN, as `huggingface_hub` does. No dataset script is ever run.
"""

from __future__ import annotations

import re
from pathlib import Path

from filbert.readers.ledger import fatal

PATTERNS = [
    f"*.{kind}{packed}" for kind in ("parquet", "csv", "tsv", "jsonl", "json") for packed in ("", ".gz", ".zst")
]
SKIPPED = ["dataset_info*.json", "*/dataset_info*.json", ".*", "*config.json", "*.rejects.jsonl"]


def is_hub_id(name: str) -> bool:
    """Tell whether a name can be a hub id: `owner/name`, no such path here, no file's suffix.

    >>> is_hub_id("stanfordnlp/imdb"), is_hub_id("data/reviews.csv"), is_hub_id("../imdb/x")
    (True, False, False)
    """
    shape = re.fullmatch(r"[A-Za-z0-9][\w.\-]*/[A-Za-z0-9][\w.\-]*", name)
    files = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".parquet", ".gz", ".xz", ".zip", ".tar", ".bz2", ".zst")
    return bool(shape) and not name.lower().endswith(files) and not Path(name.split("/")[0]).exists()


def download(name: str) -> tuple[Path, list[str]]:
    """Return the folder of the data set's table files in the hub cache, and what is to be said."""
    from huggingface_hub import snapshot_download  # loads in half a second: only where it is used
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, repo_type="dataset", allow_patterns=PATTERNS, ignore_patterns=SKIPPED))
    except LocalEntryNotFoundError:
        todo = "check the network, or HF_ENDPOINT and HF_HUB_OFFLINE; or give a local path"
        raise fatal(name, "hub", "is no path here, not in the cache, and the hub cannot be reached", todo) from None
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        what = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        todo = "check the name; for a private data set run `hf auth login`"
        raise fatal(name, "hub", f"cannot be downloaded: {what}", todo) from None
    if not any(path.is_file() for path in folder.rglob("*")):
        raise fatal(name, "hub", "has no Parquet, CSV or JSON files", "download it and convert it to one of these")
    return folder, [f"hub data set {name}, revision {folder.name[:12]}"]
