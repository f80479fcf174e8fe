"""Memory and time that hostile or damaged inputs cost: every input is made here, and read by a process of its own.

    python bench/hostile_memory.py [--only NAME …] [--checkout FOLDER] [--write]

Prints for each input its size, the largest resident size of the process that reads it, its seconds, and the last line
that it said. `--checkout` runs the code of another folder, to compare. No process may take more than 12 GB of address
space or 120 seconds; returns 1 where one took more than 300 MB beside 64 times the size of its input, or 60 s, or where
a crafted model folder took more than two seconds of the processor.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from records import HERE, append

ADDRESSES = 12_000_000 << 10
SECONDS = 120
RESULTS = HERE / "results" / "hostile_memory.jsonl"
BASE_MB, TIMES = 300, 64  # beyond what a small input takes
MODEL = """
from filbert.bases.find import find_base
from filbert.bases.load import load_base
from filbert.config import EncoderConfig
from filbert.folder.save import save_network
from filbert.model.encoder import Encoder
from filbert.model.network import Network
from filbert.tasks import single_label as task
from filbert.tasks.single_label.settings import Settings
from pathlib import Path
import torch
_, tokenizer, _ = load_base(find_base("filbert-mini").folder)
encoder = Encoder(EncoderConfig.of_size("tiny", len(tokenizer)), torch.Generator().manual_seed(0))
two = Settings(("no", "yes"))
fields = {"architectures": [task.HUB[0]], **task.saved(two)}
info = {"task": task.NAME, "settings": {"labels": ["no", "yes"]}, "max_length": 128}
save_network(Path("m"), Network(encoder, task.head(two)), tokenizer, fields, info)
"""
FIT = ["--base", "tiny", "--epochs", "1", "--no-baseline", "--overwrite", "-o", "run"]
FOLDERS: set[Path] = set()  # files of crafted model folders, which may take so many seconds of the processor in all:
FOLDER_SECONDS = 2.0
Made = tuple[Path, list[str]]  # the input, and the words after `filbert`; with the word `-` it is given on stdin


def predicted(path: Path) -> Made:
    """Return the command that scores a file."""
    return path, ["predict", "m", str(path), "-o", "out.csv", "--overwrite"]


def small() -> Made:
    """An ordinary file of ten rows: what the process takes in any case."""
    Path("small.csv").write_text("text,label\n" + "a good film,yes\n" * 10)
    return predicted(Path("small.csv"))


def long_line() -> Made:
    """100 MB of words without a line end, on stdin."""
    Path("line.txt").write_bytes(b"word " * 20_000_000)
    return Path("line.txt"), ["predict", "m", "-"]


def long_texts() -> Made:
    """60 rows of 1 MB."""
    with open("long.csv", "w") as file:
        file.write("text,label\nshort,no\n" + ("word " * 200_000 + ",no\n") * 60)
    return predicted(Path("long.csv"))


def long_words() -> Made:
    """Ten rows of one word of 10 million letters."""
    with open("words.csv", "w") as file:
        file.write("text,label\nshort,no\n" + ("x" * 10_000_000 + ",no\n") * 10)
    return predicted(Path("words.csv"))


def tar_header() -> Made:
    """A tar whose extended header tells 6 GB."""
    head = tarfile.TarInfo("x")
    head.type, head.size = b"x", 6_000_000_000
    zeros = gzip.compress(bytes(100_000_000))
    Path("pax.tar.gz").write_bytes(gzip.compress(head.tobuf(tarfile.USTAR_FORMAT)) + zeros * 61)
    return predicted(Path("pax.tar.gz"))


def json_lists() -> Made:
    """One JSON object that holds 240 million empty lists."""
    some = gzip.compress(b"[],\n" * 20_000_000)
    Path("lists.json.gz").write_bytes(gzip.compress(b'{"train":[\n') + some * 12 + gzip.compress(b"[]]}"))
    return predicted(Path("lists.json.gz"))


def json_rows() -> Made:
    """A JSON array of 1,000 rows of 10 MB."""
    row = gzip.compress(b'{"text": "' + b"word " * 2_000_000 + b'", "label": "no"},\n')
    Path("rows.json.gz").write_bytes(gzip.compress(b"[\n") + row * 200 + gzip.compress(b'{"text": "a", "label": "b"}]'))
    return predicted(Path("rows.json.gz"))


def parquet_in_zip() -> Made:
    """A zip whose member `x.parquet` unpacks to 3 GB of zeros."""
    with (
        zipfile.ZipFile("parquet.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.parquet", "w", force_zip64=True) as member,
    ):
        member.write(b"PAR1")
        for _ in range(30):
            member.write(bytes(100_000_000))
    return predicted(Path("parquet.zip"))


def parquet_dictionary() -> Made:
    """A Parquet file whose 2,000 rows are one text of 4 MB, stored once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = pa.array(["word " * 800_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 2_000, pa.int32()), words)
    pq.write_table(pa.table({"text": column}), "dictionary.parquet", dictionary_pagesize_limit=1 << 30)
    return predicted(Path("dictionary.parquet"))


def changed(name: str, **fields: object) -> Path:
    """Return a copy of the model, as others' folders are: without a manifest, with other fields in its config.json."""
    from shutil import copytree

    folder = Path(copytree("m", name))
    (folder / "filbert.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    return folder


def layers() -> Made:
    """A folder that tells ten million layers."""
    folder = changed("layers", num_hidden_layers=9_999_999)
    return folder / "config.json", ["predict", str(folder), "a film"]


def normalizer(name: str, wanted: object) -> Made:
    """A folder whose tokenizer.json has this normalizer, asked for a text of 120,000 letters."""
    folder = changed(name)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "normalizer": wanted}))
    Path(f"{name}.txt").write_text("a" * 120_000 + "\n")
    return file, ["predict", str(folder), f"{name}.txt", "-o", "out.csv", "--overwrite"]


def multiplying() -> Made:
    """A tokenizer that makes 2,000 letters of each."""
    return normalizer("multiplying", {"type": "Replace", "pattern": {"String": "a"}, "content": "ab" * 1_000})


def panicking() -> Made:
    """A tokenizer whose normalizer makes the library panic."""
    return normalizer("panicking", {"type": "Precompiled", "precompiled_charsmap": "/////w=="})


def many_labels() -> Made:
    """20,000 labels, each at three texts."""
    rows = "".join(f"text {n} {m},label {n}\n" for m in range(3) for n in range(20_000))
    Path("labels.csv").write_text("text,label\n" + rows)
    return Path("labels.csv"), ["fit", "labels.csv", *FIT]


def asked_of(folder: Path, file: str) -> Made:
    """Return the command that asks a crafted folder one text: refused or answered, within two seconds."""
    FOLDERS.add(folder / file)
    return folder / file, ["predict", str(folder), "a film"]


def with_file(name: str, file: str, data: bytes) -> Made:
    """A copy of the model with another file in it."""
    folder = changed(name)
    (folder / file).write_bytes(data)
    return asked_of(folder, file)


def config_labels() -> Made:
    """A config.json that names 400,000 labels."""
    names = {str(n): f"label {n}" for n in range(400_000)}
    return asked_of(changed("named", id2label=names), "config.json")


def config_nested() -> Made:
    """A config.json of 15 million brackets."""
    return with_file("nested", "config.json", b"[" * 15_000_000)


def config_numbers() -> Made:
    """A config.json of one number of 15 million digits."""
    return with_file("number", "config.json", b'{"hidden_size": ' + b"9" * 15_000_000 + b"}")


def tensors_header() -> Made:
    """A model.safetensors whose header names a million tensors."""
    entry = b'"t%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    header = b"{" + b",".join(entry % n for n in range(1_000_000)) + b"}"
    return with_file("header", "model.safetensors", len(header).to_bytes(8, "little") + header)


def tensors_promise() -> Made:
    """A model.safetensors whose header states 99 MB and has none of them."""
    return with_file("promise", "model.safetensors", (99_000_000).to_bytes(8, "little") + b"{")


def tokens_many() -> Made:
    """A tokenizer.json of 600,000 words."""
    told = json.loads(Path("m/tokenizer.json").read_text())
    told["model"]["vocab"] |= {f"w{n}": n + 16_000 for n in range(600_000)}
    return with_file("tokens", "tokenizer.json", json.dumps(told).encode())


def tokens_added() -> Made:
    """A tokenizer.json with 100,000 special tokens."""
    told = json.loads(Path("m/tokenizer.json").read_text())
    one = {**told["added_tokens"][0]}
    told["added_tokens"] += [{**one, "id": 16_000 + n, "content": f"[S{n}]"} for n in range(100_000)]
    return with_file("added", "tokenizer.json", json.dumps(told).encode())


def vocabulary_lines() -> Made:
    """A vocab.txt of 30 million lines, and no tokenizer.json."""
    folder = changed("lines")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_bytes(b"ab\n" * 30_000_000)
    return asked_of(folder, "vocab.txt")


def manifest_files() -> Made:
    """A filbert.json that lists 200,000 files."""
    told = json.loads(Path("m/filbert.json").read_text())
    told["files"] |= {f"file {n}": "0" * 64 for n in range(180_000)}
    folder = changed("manifest")
    (folder / "filbert.json").write_text(json.dumps(told))
    return asked_of(folder, "filbert.json")


def most_labels() -> Made:
    """5,000 labels, the most that are told apart, each at three texts."""
    rows = "".join(f"text {n} {m},label {n}\n" for m in range(3) for n in range(5_000))
    Path("most.csv").write_text("text,label\n" + rows)
    return Path("most.csv"), ["fit", "most.csv", *FIT]


def some_labels() -> Made:
    """2,000 labels, each at three texts."""
    rows = "".join(f"text {n} {m},label {n}\n" for m in range(3) for n in range(2_000))
    Path("some.csv").write_text("text,label\n" + rows)
    return Path("some.csv"), ["fit", "some.csv", *FIT]


def long_label() -> Made:
    """Two labels, one of them of 20,000 characters."""
    rows = "".join(f"text {n},{'no' if n % 2 else 'yes' * 6_667}\n" for n in range(40))
    Path("label.csv").write_text("text,label\n" + rows)
    return Path("label.csv"), ["fit", "label.csv", *FIT]


def pipe() -> Made:
    """A recipe that is a pipe nobody writes to."""
    os.mkfifo("pipe.toml")
    return Path("pipe.toml"), ["pretrain", "--recipe", "pipe.toml"]


INPUTS: tuple[Callable[[], Made], ...] = (
    small,
    long_line,
    long_texts,
    long_words,
    tar_header,
    json_lists,
    json_rows,
    parquet_in_zip,
    parquet_dictionary,
    layers,
    config_labels,
    config_nested,
    config_numbers,
    tensors_header,
    tensors_promise,
    tokens_many,
    tokens_added,
    vocabulary_lines,
    manifest_files,
    multiplying,
    panicking,
    some_labels,
    most_labels,
    many_labels,
    long_label,
    pipe,
)


def measured(source: Path, words: list[str]) -> tuple[float, float, float, str]:
    """Run `filbert` → peak MB, seconds, seconds of the processor, the last line of stderr."""
    began = time.monotonic()
    with (source if words[-1] == "-" else Path(os.devnull)).open("rb") as given, open("err.txt", "wb") as err:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "filbert", *words],
            stdin=given,
            stdout=subprocess.DEVNULL,
            stderr=err,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES)),
        )
        while (ended := os.wait4(child.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() - began > SECONDS:
                child.kill()
            time.sleep(0.02)
    child.returncode = ended[1]
    said = Path("err.txt").read_text("utf-8", "replace").strip().splitlines()
    busy = ended[2].ru_utime + ended[2].ru_stime
    return ended[2].ru_maxrss / 1024, time.monotonic() - began, busy, said[-1] if said else ""


def main() -> int:
    """Measure and print; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="names of inputs")
    parser.add_argument("--checkout", type=Path, default=HERE.parent, help="folder whose code is run")
    parser.add_argument("--write", action="store_true", help="append to bench/results/hostile_memory.jsonl")
    asked = parser.parse_args()
    os.environ |= {"PYTHONPATH": str(asked.checkout.resolve()), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    usual, missed = 0.0, 0
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        subprocess.run([sys.executable, "-c", MODEL], check=True, stdout=subprocess.DEVNULL)
        for make in INPUTS:
            if asked.only and make.__name__ not in asked.only:
                continue
            source, words = make()
            size = source.stat().st_size / 1e6
            megabytes, seconds, busy, said = measured(source, words)
            usual = usual or megabytes
            bad = seconds > SECONDS / 2 or megabytes > usual + BASE_MB + TIMES * size
            bad |= source in FOLDERS and busy > FOLDER_SECONDS
            missed += bad
            row = f"{make.__name__:<20} {size:9.3f} MB in {megabytes:8,.0f} MB {seconds:7.1f} s, busy {busy:5.1f} s"
            print(f"{row}  {'MISSED  ' if bad else ''}{said[:150]}", flush=True)
            found = {"input": make.__name__, "size_mb": round(size, 3), "peak_mb": round(megabytes)}
            if asked.write:
                append(RESULTS, {**found, "seconds": round(seconds, 1), "busy": round(busy, 1), "said": said[:80]})
        os.chdir(HERE)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
