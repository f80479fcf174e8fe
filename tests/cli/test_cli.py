"""The command line as people and programs meet it: what is printed where, exit codes, nothing overwritten.

One tiny model is trained for all tests of this file; commands run in this process, so that torch is loaded once.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from command import Run
from rich.console import Console
from small import VOCAB, encoder, needs_minilm

from filbert.cli import COMMANDS, app, console
from filbert.cli.console import Screen, bars, cells, fitted, safe, table
from filbert.cli.options import Json, merges, reading
from filbert.cli.parts import name_of
from filbert.errors import ConfigError
from filbert.finetuning import fit
from filbert.folder.layout import hugging_face_config, to_hugging_face
from filbert.model.native_encoder import library
from filbert.readers.options import ReadOptions
from filbert.training.loop import Interrupted

ROOT = Path(__file__).parent.parent
TRAIN = ["--base", "tiny", "--epochs", "1", "--device", "cpu", "--precision", "fp32"]
WORDS = {"neg": ("bad", "dull", "poor"), "pos": ("good", "fine", "great")}


def write_texts(path: Path, count: int = 60, *, header: str = "text,label", encoding: str = "utf-8") -> Path:
    rows = [header]
    for n in range(count):
        label = ("neg", "pos")[n % 2]
        rows.append(f"a {WORDS[label][n % 3]} film, number {n}".join('""') + f",{label}")
    path.write_text("\n".join(rows) + "\n", encoding=encoding)
    return path


def rows_of(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=delimiter))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model fitted by the command on sixty texts."""
    folder = tmp_path_factory.mktemp("model")
    source = write_texts(folder / "reviews.csv")
    with pytest.raises(SystemExit) as end:
        app(["fit", str(source), "-o", str(folder / "run"), *TRAIN])
    assert not end.value.code
    return folder / "run"


# ---- fit ----


def test_fit_prints_scores_beside_the_baseline_and_what_comes_next(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "reviews.csv")
    ran = run("fit", "reviews.csv", *TRAIN)
    assert ran.code == 0, ran.err
    assert "text: 'text', label: 'label'" in ran.err
    assert "base tiny" in ran.err
    assert "60 read, 60 accepted, 0 quarantined" in ran.err
    assert re.search(r"validation, 6 texts +model +baseline", ran.out)
    assert re.search(r"accuracy +\d+\.\d %", ran.out)
    assert "linear baseline: accuracy" in ran.out
    assert "texts were read whole" in ran.out
    for wanted in ("runs/reviews/report.html", 'filbert predict runs/reviews "a new text"', "filbert evaluate runs/"):
        assert wanted in ran.out
    assert (tmp_path / "runs/reviews/report.html").is_file()
    command = json.loads((tmp_path / "runs/reviews/report.json").read_text())["training"]["command"]
    assert command.startswith("filbert ")


def test_fit_json_is_one_object(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "reviews.csv")
    ran = run("fit", "reviews.csv", *TRAIN, "--no-baseline", "--json")
    assert ran.json["folder"] == "runs/reviews"
    assert ran.json["labels"] == ["neg", "pos"]
    assert ran.json["baseline"] is None
    assert ran.json["counts"] == {"train": 54, "validation": 6}
    assert set(ran.json["scores"]["accuracy"]) == {"value", "low", "high"}


def test_fit_never_replaces_a_model(run: Run, model: Path, tmp_path: Path) -> None:
    before = (model / "model.safetensors").read_bytes()
    ran = run("fit", write_texts(tmp_path / "a.csv"), "-o", model, *TRAIN)
    assert (ran.code, ran.out) == (2, "")
    assert "--overwrite" in ran.err
    assert (model / "model.safetensors").read_bytes() == before


def test_fit_lists_bad_rows_and_keeps_them(run: Run, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "bad.csv")
    source.write_text(source.read_text() + "one field too many,pos,x\n")
    ran = run("fit", "bad.csv", *TRAIN)
    assert ran.code == 2
    assert "bad.csv:62" in ran.err
    assert "runs/bad.rejects.jsonl" in ran.err
    assert "Traceback" not in ran.err
    kept = json.loads((tmp_path / "runs/bad.rejects.jsonl").read_text())
    assert kept["row"].startswith("one field too many,pos,x")
    again = run("fit", "bad.csv", *TRAIN, "--no-baseline", "--on-bad-rows", "quarantine", "--json")
    assert again.code == 0, again.err
    assert again.json["quarantined"] == 1
    assert "61 read, 60 accepted, 1 quarantined" in again.err


def test_fit_proposes_gb18030(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"第{n}次入住，{('服务很差', '房间非常好')[n % 2]},{('差评', '好评')[n % 2]}\n" for n in range(40))
    (tmp_path / "zh.csv").write_bytes(f"文本,标签\n{rows}".encode("gb18030"))
    ran = run("fit", "zh.csv", *TRAIN)
    assert ran.code == 2
    assert "add --encoding gb18030" in ran.err
    assert "服务很差" in ran.err


def test_errors_as_json(run: Run) -> None:
    ran = run("fit", "nowhere.csv", "--json")
    assert ran.code == 2
    assert ran.json["error"]["type"] == "DataError"
    assert ran.json["error"]["problems"][0]["file"] == "nowhere.csv"
    assert "nowhere.csv" in ran.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--epochs", "0"], "epochs"),
        (["--precision", "fp8"], "precision"),
        (["--on-bad-rows", "drop"], "on_bad_rows"),
        (["--merge-labels", "Pos"], "--merge-labels"),
        (["--encoding", "latin"], "encoding"),
        (["--device", "tpu"], "device"),
        (["--base", "no such base"], "base"),
    ],
)
def test_wrong_options_are_named(run: Run, tmp_path: Path, words: list[str], named: str) -> None:
    write_texts(tmp_path / "a.csv")
    if "encoding" in named:
        words = ["--encoding", "latin-0"]
    ran = run("fit", "a.csv", *words)
    assert (ran.code, ran.out) == (2, "")
    assert named in ran.err
    assert "Traceback" not in ran.err


def test_debug_shows_the_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILBERT_DEBUG", "1")
    with pytest.raises(ConfigError):
        app(["fit", "a.csv", "--epochs", "0"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_T18_a_stopped_run_says_how_to_go_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    def stop(_splits: object, out: Path, **_options: object) -> None:
        (out / "checkpoints").mkdir(parents=True)
        (out / "checkpoints/step-00000007.json").write_text("{}")
        raise Interrupted(number)

    monkeypatch.setattr(fit, "fit", stop)
    monkeypatch.setattr(sys, "argv", ["filbert", "fit", "my texts.csv", "--overwrite"])
    write_texts(tmp_path / "my texts.csv")
    ran = run("fit", "my texts.csv", "--overwrite")
    assert ran.code == code
    assert "filbert fit 'my texts.csv' -o 'runs/my texts'" in ran.err
    assert "--overwrite" not in ran.err


# ---- predict ----


def test_predict_one_text(run: Run, model: Path) -> None:
    ran = run("predict", model, "What a good film!")
    assert ran.code == 0
    label, first, second = ran.out.splitlines()
    assert label in ("neg", "pos")
    assert first.split()[0] == label
    assert "█" in first
    assert "%" in second


def test_predict_one_text_as_json(run: Run, model: Path) -> None:
    told = run("predict", model, "What a good film!", "--json").json
    assert set(told) == {"text", "label", "probabilities", "truncated", "unk_ratio"}
    assert sum(told["probabilities"].values()) == pytest.approx(1)
    assert told["label"] == max(told["probabilities"], key=told["probabilities"].__getitem__)


def test_D13_a_text_beyond_the_vocabulary_is_answered_and_said(run: Run, model: Path, tmp_path: Path) -> None:
    ran = run("predict", model, "这部电影真好看")
    assert ran.code == 0
    assert "no pieces for 100% of the text" in ran.err
    (tmp_path / "new.csv").write_text("text\na good film\n这部电影真好看\nfilm 👍🏽 film a\n", encoding="utf-8")
    ran = run("predict", model, "new.csv")
    assert "no pieces for much of 1 of the 3 texts" in ran.err
    assert [row["unk_ratio"] for row in rows_of(tmp_path / "new.predictions.csv")] == ["0.0", "1.0", "0.25"]
    assert "warning" not in run("predict", model, "a good film").err


def test_predict_a_file(run: Run, model: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "new.csv", 5, header="text,label")
    source.write_text(source.read_text() + '" ",pos\n"=cmd|\'/c calc\'!A1",neg\n' + "word " * 600 + ",neg\n")
    ran = run("predict", model, "new.csv")
    assert ran.code == 0, ran.err
    rows = rows_of(tmp_path / "new.predictions.csv")
    added = ["predicted_label", "probability_neg", "probability_pos", "truncated", "unk_ratio", "error"]
    assert list(rows[0]) == ["text", "label", *added]
    assert [row["text"] for row in rows] == [row["text"] for row in rows_of(source)]  # in order, unchanged
    assert rows[6]["text"] == "=cmd|'/c calc'!A1"
    assert rows[5]["error"] == "empty_text"  # D10
    assert rows[5]["predicted_label"] == rows[5]["probability_neg"] == ""
    assert rows[7]["truncated"] == "true"
    assert "8 rows read = 7 scored + 1 empty_text · 1 truncated" in ran.out
    assert "predictions  new.predictions.csv" in ran.out
    assert not list(tmp_path.glob("*.part"))


def test_file_sentence_and_stdin_agree(run: Run, model: Path, tmp_path: Path) -> None:
    text = "a dull film, number 7"
    (tmp_path / "one.csv").write_text(f'id,text\n7,"{text}"\n')
    alone = run("predict", model, text, "--json").json["probabilities"]
    run("predict", model, "one.csv", "-o", "one.jsonl")
    row = json.loads((tmp_path / "one.jsonl").read_text())
    piped = run("predict", model, "-", stdin=f"{text}\n\n".encode())
    first, empty = csv.DictReader(io.StringIO(piped.out))
    for label, p in alone.items():
        assert row[f"probability_{label}"] == pytest.approx(p, abs=2e-6)
        assert float(first[f"probability_{label}"]) == pytest.approx(p, abs=2e-6)
    assert first["text"] == text
    assert empty["error"] == "empty_text"
    assert row["id"] == "7"
    assert "2 rows read = 1 scored + 1 empty_text" in piped.err


def test_predict_writes_tsv_and_parquet(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps({"text": 'tab\t, line\r\nand "quote" 正面'}) + '\n{"text": "b"}\n')
    for name in ("out.tsv", "out.parquet"):
        ran = run("predict", model, "in.jsonl", "-o", name, "--json")
        assert ran.json["out"] == name
        assert (ran.json["read"], ran.json["scored"], ran.json["errors"]) == (2, 2, {})
    assert rows_of(tmp_path / "out.tsv", "\t")[0]["text"] == 'tab\t, line\r\nand "quote" 正面'
    table_ = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert table_[0]["text"] == 'tab\t, line\r\nand "quote" 正面'
    assert table_[0]["probability_neg"] + table_[0]["probability_pos"] == pytest.approx(1, abs=1e-5)
    assert table_[0]["truncated"] is False
    assert table_[0]["error"] is None


def test_predict_never_overwrites(run: Run, model: Path, tmp_path: Path) -> None:
    write_texts(tmp_path / "new.csv", 3)
    (tmp_path / "out.csv").write_text("mine")
    ran = run("predict", model, "new.csv", "-o", "out.csv")
    assert (ran.code, (tmp_path / "out.csv").read_text()) == (2, "mine")
    assert run("predict", model, "new.csv", "-o", "out.csv", "--overwrite").code == 0
    itself = run("predict", model, "new.csv", "-o", "new.csv", "--overwrite")
    assert itself.code == 2
    assert "input itself" in itself.err
    assert run("predict", model, "new.csv", "-o", "out.xlsx").code == 2
    assert run("predict", model, "new.csv", "-o", "nowhere/out.csv").code == 2


def test_predict_bad_rows_leave_no_half_file(run: Run, model: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "bad.csv", 4)
    source.write_text(source.read_text() + "too,many,fields\n")
    ran = run("predict", model, "bad.csv")
    assert ran.code == 2
    assert "bad.csv:6" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.csv", "bad.predictions.csv.rejects.jsonl"]
    kept = run("predict", model, "bad.csv", "--on-bad-rows", "quarantine", "--json").json
    assert (kept["read"], kept["scored"], kept["quarantined"]) == (5, 4, 1)


@pytest.mark.parametrize("name", ["new.csv", "my texts.jsonl", "data/new", "./x", "new.csv.gz"])
def test_a_missing_file_is_not_a_text(run: Run, model: Path, name: str) -> None:
    ran = run("predict", model, name)
    assert (ran.code, ran.out) == (2, "")
    assert "does not exist" in ran.err


@pytest.mark.parametrize("text", ["and/or is a fine film", "好看/不好看", "Nice.", "x" * 5000])
def test_a_text_is_not_a_missing_file(run: Run, model: Path, text: str) -> None:
    assert run("predict", model, text).code == 0


def test_predict_nothing_to_read(run: Run, model: Path) -> None:
    ran = run("predict", model, " \u200b")
    assert ran.code == 2
    assert "\u200b" not in ran.err


def test_predict_undecodable_stdin_names_the_line(run: Run, model: Path) -> None:
    ran = run("predict", model, "-", stdin=b"fine\n\xff\xfe bad\n")
    assert ran.code == 2
    assert "stdin:2" in ran.err
    chinese = run("predict", model, "-", "--encoding", "gb18030", stdin="很好\n".encode("gb18030"))
    assert "很好,pos" in chinese.out or "很好,neg" in chinese.out


def test_predict_wrong_model(run: Run, tmp_path: Path) -> None:
    ran = run("predict", "nowhere", "A text.", "--json")
    assert (ran.code, ran.json["error"]["type"]) == (2, "ModelError")


# ---- evaluate, report ----


def test_evaluate(run: Run, model: Path, tmp_path: Path) -> None:
    write_texts(tmp_path / "labelled.csv", 20)
    ran = run("evaluate", model, "labelled.csv", "-o", "scores.json")
    assert ran.code == 0, ran.err
    assert re.search(r"accuracy +\d+\.\d % \(\d+\.\d–\d+\.\d\)", ran.out)
    assert re.search(r"neg +10 ", ran.out)
    told = json.loads((tmp_path / "scores.json").read_text())
    again = run("evaluate", model, "labelled.csv", "--json").json
    assert told == again
    assert again["n"] == 20
    assert again["per_class"][1]["support"] == 10
    assert run("evaluate", model, "labelled.csv", "-o", "scores.json").code == 2


def test_D11_evaluate_refuses_unknown_labels(run: Run, model: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "other.csv", 6)
    source.write_text(source.read_text().replace(",pos", ",Pos"))
    ran = run("evaluate", model, "other.csv")
    assert ran.code == 2
    assert "other.csv:3 label — the model has no label 'Pos' (3 rows)" in ran.err
    assert run("evaluate", model, "other.csv", "--merge-labels", "Pos=pos", "--json").json["n"] == 6


def test_evaluate_chooses_the_test_split(run: Run, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name, count in (("train", 8), ("dev", 4), ("test", 6)):
        write_texts(folder / f"{name}.csv", count)
    assert run("evaluate", model, "set", "--json").json["n"] == 6
    assert run("evaluate", model, "set", "--split", "validation", "--json").json["n"] == 4
    (folder / "test.csv").unlink()
    ran = run("evaluate", model, "set")
    assert ran.code == 2
    assert "--split" in ran.err


def test_report_is_written_again(run: Run, model: Path) -> None:
    before = (model / "report.html").read_bytes()
    (model / "report.html").unlink()
    assert run("report", model, "--json").json["report"] == str(model / "report.html")
    assert (model / "report.html").read_bytes() == before
    assert run("report", "nowhere").code == 2


def test_version_and_usage(run: Run) -> None:
    assert run("--version").out.startswith("filbert ")
    assert run("predict").code == 2
    assert run("fly").code == 2


def test_a_reader_that_leaves_early(model: Path) -> None:
    code = f"import sys; sys.argv = ['filbert', 'report', {str(model)!r}]; from filbert.cli import main; main()"
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert ran.returncode == 141
    assert ran.stderr == ""


# ---- the parts ----


def test_merges() -> None:
    assert merges(["Pos=pos,POS=pos", "N=n"]) == {"Pos": "pos", "POS": "pos", "N": "n"}
    assert merges(["a, b=c"]) == {"a, b": "c"}
    for wrong in ("Pos", "=", "a=b=c"):
        with pytest.raises(ConfigError):
            merges([wrong])


def test_the_options_of_reading_stand_where_read_stood() -> None:
    seen = []

    @reading(labelled=False)
    def count(path: str, *, read: ReadOptions, as_json: Json = False) -> None:
        seen.append((path, read, as_json))

    options = ["text", "delimiter", "header", "quotes", "encoding", "on_bad_rows"]
    assert list(inspect.signature(count).parameters) == ["path", *options, "as_json"]
    count("a.csv", text="review", header=False, as_json=True)
    assert seen == [("a.csv", ReadOptions(text="review", header=False), True)]
    labelled = reading()(inspect.unwrap(count))
    labelled("a.csv", label="2", merge_labels=["Pos=pos"], split_column="part", quotes=True)
    assert seen[1][1] == ReadOptions(label="2", merge_labels={"Pos": "pos"}, split_column="part", quotes=True)


def test_help_lists_the_commands_in_their_order(run: Run) -> None:
    listed = re.findall(r"^  (\w+)  +[A-Z]", run("--help").out.split("Commands:")[1], re.MULTILINE)
    assert listed[:4] == ["fit", "predict", "evaluate", "report"]
    assert listed == list(COMMANDS)


def test_name_of() -> None:
    assert name_of("a/reviews.tar.xz") == "reviews"
    assert name_of(".") not in ("", ".")


def test_D04_nothing_reaches_the_terminal() -> None:
    assert safe("a\x1b]0;x\x07\u202e\u2066\u200b\x9b") == r"a\x1b]0;x\x07\u202e\u2066\u200b\x9b"
    assert safe("two\nlines 中文　é") == "two\nlines 中文　é"


def test_chinese_tables_are_aligned() -> None:
    lines = table([("类别", "n"), ("pos", "12"), (fitted("一个非常非常非常非常长的类别名字啊啊啊"), "3")], right=[1])
    assert len({cells(line) for line in lines}) == 1
    assert cells(lines[2]) <= 30 + 4


def test_bars_of_many_classes() -> None:
    lines = bars({f"c{n}": 1 / 40 for n in range(40)})
    assert len(lines) == 11
    assert lines[-1] == "… and 30 more classes, together 75.0 %"


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_progress_in_a_log_is_rare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(console, "time", clock)
    with Screen() as screen:
        for n in range(1000):
            clock.now += 0.5
            screen.progress("training", n / 1000, 1.0, tokens_per_second=1234.5, seconds_left=90)
    lines = capsys.readouterr().err.splitlines()
    assert 15 <= len(lines) <= 20  # five in a hundred, 25 seconds apart
    assert lines[0].startswith("training:   5% · 1,234 tokens/s · 1:30 min left")


def test_the_bar_takes_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = io.StringIO()
    screen = Console(file=drawn, force_terminal=True, width=100, markup=False, highlight=False)
    monkeypatch.setattr(console, "_console", lambda stream: screen)
    with Screen() as shown:
        shown.say("warning: label '[red]x[/red]' \x1b[2J")
        shown.progress("scoring [bold]b[/bold]", 3, 10, texts_per_second=7)
        shown.show("[link=x]正面[/link]")
    text = drawn.getvalue()
    for wanted in ("[red]x[/red]", r"\x1b[2J", "scoring [bold]b[/bold]", "3 of 10", "7 texts/s", "[link=x]正面[/link]"):
        assert wanted in text


# ---- the pages ----


def test_commands_page_is_up_to_date() -> None:
    page = runpy.run_path(str(ROOT / "docs/make_commands.py"))["page"]()
    assert (ROOT / "docs/commands.md").read_text(encoding="utf-8") == page, "run `make docs`"


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def write_corpus(path: Path) -> None:
    words = ["river", "house", "stone", "green", "night", "bread", "music", "winter", "paper", "glass"]
    documents = ["".join(f"the {words[(n + k) % 10]} and {words[n % 7]}.\n" for k in range(8)) for n in range(40)]
    documents[0] += f"{path.stem} is not the same.\n"  # as the others
    path.write_text("\n".join(documents), encoding="utf-8")


def write_old_checkpoint(folder: Path) -> None:
    """A BERT as it was shared in 2019: weights pickled, the vocabulary as a list."""
    folder.mkdir()
    net = encoder()
    tensors = {f"bert.{name}": tensor for name, tensor in to_hugging_face(net.state_dict()).items()}
    torch.save(tensors, folder / "pytorch_model.bin")  # noqa: TID251
    (folder / "config.json").write_text(json.dumps(hugging_face_config(net.config, "BertModel")), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n", encoding="utf-8")


BRIEF = {  # what keeps a command of the README short
    "pretrain": ["--size", "tiny", "--tokens", "4000", "--batch-tokens", "512"],
    "adapt": ["--tokens", "600", "--batch-tokens", "512"],
    "vocab": ["--size", "200"],
}


@needs_minilm
def test_the_commands_of_the_readme_work(run: Run, tmp_path: Path) -> None:
    for name, texts in (("reviews.csv", 40), ("new.csv", 4), ("labelled.csv", 10)):
        write_texts(tmp_path / name, texts)
    (tmp_path / "notes").mkdir()
    for path in (tmp_path / name for name in ("wiki.txt", "notes/one.txt", "notes/two.txt")):
        write_corpus(path)
    write_old_checkpoint(tmp_path / "uncased_L-12_H-768_A-12")
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("filbert ")]
    assert len(lines) >= 12
    for line in lines:
        words = shlex.split(line, comments=True)[1:]
        if "int8" in words and library() is None:
            continue
        brief = [*TRAIN, "--overwrite"] if words[0] == "fit" else BRIEF.get(words[0], [])
        if "--base" in words and words[0] == "fit":
            brief = [*brief, *words[words.index("--base") :]]  # of two, the last counts
        ran = run(*words, *brief)
        assert ran.code == 0, f"{line}\n{ran.err}"


def test_the_python_of_the_readme_works(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_texts(tmp_path / "reviews.csv")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/reviews").symlink_to(model)
    (code,) = blocks("python")
    assert 'base="minilm"' in code
    (tmp_path / "readme.py").write_text(code.replace('base="minilm"', 'base="tiny"'), encoding="utf-8")
    runpy.run_path(str(tmp_path / "readme.py"))
