"""Some hundred odd command lines, files and folders: each ends in a sentence and an exit code, none in a traceback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Run, write_texts

from filbert import cli, failures

NUMBERS = ("nan", "inf", "-1", "0", "9" * 23, "²", "", "0x10", "1,5")
NAMES = ("", "²", "9" * 23, "a" * 300, "..", "🎉", "/dev/null")
FIT = ("fit", "texts.csv", "-o", "run", "--base", "none such")  # never trains
PREDICT = ("predict", "model", "texts.csv", "-o", "nowhere/out.csv")  # never scores
PRETRAIN = ("pretrain", "nowhere.txt", "-o", "run")
SWEEPS: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (FIT, ("--epochs", "--minutes", "--seed", "--batch-size", "--max-length", "--learning-rate"), NUMBERS),
    (FIT, ("--layer-decay", "--cascade", "--skip-lines"), NUMBERS),
    (FIT, ("--optimizer", "--balance", "--precision", "--device", "--text", "--label", "--text-pair"), NAMES),
    (FIT, ("--delimiter", "--encoding", "--merge-labels", "--split-column", "--sheet", "--on-bad-rows"), NAMES),
    (FIT, ("--task", "--validation", "--test", "--base", "--unlabelled", "-o"), NAMES),
    (FIT, ("--encoding",), ("undefined", "idna", "punycode", "base64", "rot13", "utf_8_sig_", "zlib")),
    (PREDICT, ("--precision", "--device", "--encoding", "--delimiter", "--pair", "-o"), NAMES),
    (("evaluate", "model", "texts.csv", "-o", "texts.csv"), ("--split", "--label", "--merge-labels"), NAMES),
    (("vocab", "nowhere.txt", "-o", "run"), ("--size",), NUMBERS),
    (PRETRAIN, ("--tokens", "--weights", "--epochs", "--seed", "--vocab-size", "--batch-tokens", "--length"), NUMBERS),
    (PRETRAIN, ("--mask-rate", "--minutes", "--learning-rate"), NUMBERS),
    (PRETRAIN, ("--size", "--vocab", "--position", "--optimizer", "--precision", "--device", "--recipe"), NAMES),
    (("fill", "a [MASK]", "--base", "none such"), ("--top",), NUMBERS),
)
LINES = [(*words, option, value) for words, options, values in SWEEPS for option in options for value in values]
RECIPES = (
    *(f"{key} = {value}" for key in ("weights", "tokens", "seed", "corpora", "vocab_size", "clip", "size", "cased")
      for value in ("nan", "-1", "['a']", "[1, {a = 2}]", "[5]", "{}", "1979-05-27", "9" * 23, "''")),
    "a = " + "[" * 5_000, "\x00", "=", "[table]\nb = 1", "corpora = 'a'\ncorpora = 'b'", "'''",
)  # fmt: skip
VALUES = (-5, "x", [1], {"a": {"b": 1}})


@pytest.fixture(autouse=True)
def _foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw fails the test in place of being kept in a file."""

    def fail(error: BaseException) -> str:
        raise AssertionError("not foreseen") from error

    monkeypatch.setattr(failures, "_kept", fail)


@pytest.fixture
def odd(run: Run, model: Path, tmp_path: Path) -> Run:
    """Run in a folder with a model and some texts."""
    shutil.copytree(model, tmp_path / "model")
    write_texts(tmp_path / "texts.csv")
    return run


def told(run: Run, *words: str) -> None:
    """Run a command that has to end in an error of the promised shape."""
    ran = run(*words)
    assert ran.code in (1, 2), (words, ran)
    assert "Traceback" not in ran.err
    if "Error: " in ran.err:  # typer's, with the usage above it
        assert "Usage: filbert" in ran.err
    else:
        error = ran.err[ran.err.rindex("error: ") :]
        assert " — " in error, (words, error)
        assert max(map(len, error.splitlines())) < 1_000, words


def test_odd_values_of_every_option_end_in_a_sentence(odd: Run) -> None:
    assert len(LINES) > 300
    for words in LINES:
        ran = odd(*words)
        assert ran.code in (0, 1, 2), (words, ran)
        assert "Traceback" not in ran.err
        assert ran.code == 0 or "error: " in ran.err or "Error: " in ran.err, (words, ran)


@pytest.mark.parametrize("value", ["", "nowhere", "texts.csv", "/dev/null", "²", "a" * 300, "a/b", "\u202e.csv"])
def test_odd_files_and_folders_end_in_a_sentence(odd: Run, value: str) -> None:
    told(odd, "report", value)
    told(odd, "predict", value, "a text")
    told(odd, "evaluate", value, "texts.csv")
    told(odd, "fill", "a [MASK]", "--base", value or "?")
    told(odd, "next", "a", "b", "--base", value or "?")
    told(odd, "convert", value, "-o", "converted")
    told(odd, "adapt", value or "?", "texts.csv", "-o", "run", "--tokens", "nan")


@pytest.mark.parametrize("recipe", RECIPES, ids=range(len(RECIPES)))
def test_odd_recipes_end_in_a_sentence(odd: Run, recipe: str, tmp_path: Path) -> None:
    corpora = "" if "corpora" in recipe else "corpora = ['nowhere.txt']\n"
    (tmp_path / "r.toml").write_text(corpora + recipe, encoding="utf-8")
    told(odd, "pretrain", "--recipe", "r.toml", "-o", "run")


@pytest.mark.parametrize("name", ["filbert.json", "report.json", "config.json", "tokenizer_config.json"])
def test_odd_json_in_a_model_folder_ends_in_a_sentence(odd: Run, tmp_path: Path, name: str) -> None:
    file = tmp_path / "model" / name
    fields = json.loads(file.read_text("utf-8"))
    words = ("report", "model") if name == "report.json" else ("predict", "model", "a text")
    if name not in ("filbert.json", "report.json"):
        (tmp_path / "model" / "filbert.json").unlink()  # as other people's folders are
    bases = name == "filbert.json"
    for key in fields:
        for value in VALUES:
            file.write_text(json.dumps({**fields, key: value}), encoding="utf-8")
            for line in (words, ("fill", "a [MASK]", "--base", "model"))[: 1 + bases]:
                ran = odd(*line)
                assert ran.code in (0, 2), (key, value, ran)
    for text in ("[]", "5", "", "{", "\ufeff{}", "[" * 100_000, '{"a": NaN}'):
        file.write_text(text, encoding="utf-8")
        assert odd(*words).code in (0, 2), text[:9]


def test_errors_of_the_system_name_file_and_cure(odd: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for error, said in (
        (OSError(28, "No space left on device", "a.csv"), "a.csv — No space left on device — make room on the disk"),
        (PermissionError(13, "Permission denied", "b"), "b — Permission denied — check its permissions"),
        (MemoryError(), "memory — ran out — close other programs"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "memory — ran out"),
    ):

        def fail(*_words: object, error: Exception = error, **_options: object) -> None:
            raise error

        monkeypatch.setattr("filbert.cli.predict.engine_of", fail)
        ran = odd("predict", "model", "a text", "--json")
        assert ran.code == 1
        assert f"error: {said}" in ran.err
        assert said in ran.json["error"]["message"]


def test_an_error_that_nobody_foresaw_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("filbert.cli.predict.check_precision", lambda precision: 1 / 0)
    assert run("predict", "model", "a text").code == 1
    (kept,) = tmp_path.glob("filbert-error-*.txt")
    text = kept.read_text("utf-8")
    assert "ZeroDivisionError: division by zero" in text
    assert "check_precision" in text


# What needs a process of its own: streams that are closed or full, encodings, signals while modules load.


def shell(model: Path, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which $F is the command and $M a model."""
    root = str(Path(cli.__file__).parents[2])
    names = {"F": f"{sys.executable} -P -m filbert", "M": str(model), "PYTHONPATH": root, **environment}
    every = {key: value for key, value in os.environ.items() if key not in ("PYTHONUTF8", "PYTHONIOENCODING")}
    return subprocess.run(
        ["bash", "-c", script], env=every | names, cwd=model, capture_output=True, encoding="utf-8", timeout=60
    )


def scripts() -> Iterator[tuple[str, int, str]]:
    yield "$F --version >&-", 1, "error: stdout — is closed"
    yield "$F --version <&- >/dev/full", 1, "error: stdout — No space left on device — make room"
    yield "$F predict $M - <&-", 2, "error: stdin file — is closed"
    yield "$F ask $M Where? --context - <&-", 2, "error: stdin file — is closed"
    yield "$F summarize $M - <&-", 2, "error: stdin file — is closed"
    yield "$F report nowhere --json 2>&-", 2, ""
    yield "$F report nowhere --json >/dev/full", 2, "error: nowhere/report.json is missing"
    yield "$F report nowhere 2>/dev/full", 2, ""
    yield "$F report $'bad\\377'", 1, "is no valid UTF-8 — rename the file"


@pytest.mark.parametrize(("script", "code", "said"), list(scripts()))
def test_closed_and_full_streams(model: Path, script: str, code: int, said: str) -> None:
    ran = shell(model, script)
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False), ran
    assert said in ran.stderr


def test_S07_stdout_is_utf8_in_every_locale(model: Path) -> None:
    ran = shell(model, "printf '房间\\n' | $F predict $M - 2>/dev/null", LC_ALL="C", PYTHONUTF8="0")
    assert ran.stdout.splitlines()[1].startswith("房间,")
    ran = shell(model, "$F report 房间 --json", PYTHONIOENCODING="ascii")
    assert json.loads(ran.stdout)["error"]["message"].startswith("房间/report.json is missing")
    assert ran.stdout.isascii()


@pytest.mark.parametrize(("name", "code"), [("INT", 130), ("TERM", 143)])
def test_a_signal_while_modules_load_ends_the_command(model: Path, tmp_path: Path, name: str, code: int) -> None:
    """Also where what is loading swallows every exception, as some modules do."""
    (tmp_path / "typer.py").write_text(
        "import os, signal\n"
        "try:\n    os.kill(os.getpid(), signal.SIGNAME)\n    for n in range(10**6): pass\n"
        "except BaseException:\n    pass\nraise ImportError('no')\n".replace("NAME", name)
    )
    root = Path(cli.__file__).parents[2]
    ran = shell(model, "$F --version", PYTHONPATH=f"{tmp_path}:{root}")
    assert (ran.returncode, ran.stdout, ran.stderr) == (code, "", "")
