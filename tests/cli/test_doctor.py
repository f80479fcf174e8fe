"""`filbert doctor`: findings with lines and cures, the exit code, the cleaned copy; for every task's files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command import TRAIN, Run, rows_of, write_texts
from small import needs_minilm

FILES = {
    "single-label": "text,label\n" + "".join(f"a {w} film {n},{w}\n" for n in range(12) for w in ("good", "bad")),
    "multi-label": "text,labels\n" + "".join(f"text {n} of it,{('a|b', 'a', 'b')[n % 3]}\n" for n in range(24)),
    "regression": "text,score\n" + "".join(f"text {n} of it,{n / 8 + 0.125}\n" for n in range(24)),
    "question-answering": "question,context,answer\n"
    + "".join(f"who is {n}?,The man of {n} is Bob.,Bob\n" for n in range(12)),
    "summarization": "text,summary\n"
    + "".join(f"It is {n}. It rains all day. We stay.,It is {n}.\n" for n in range(12)),
}
BASE = ("--base", "filbert-mini")


@pytest.mark.parametrize("name", FILES)
def test_each_task_is_examined(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text(FILES[name] + FILES[name].splitlines()[-1] + "\n")
    ran = run("doctor", "a.csv", *BASE, "--json", *(["--task", name] if name == "summarization" else []))
    assert ran.code == 0, ran.err
    assert ran.json["task"] == name
    assert ran.json["tokens"]["longest"] > 5
    (copies,) = [found for found in ran.json["findings"] if found["check"] == "duplicates"]
    last = len(FILES[name].splitlines())
    assert copies["places"] == [f"a.csv:{last + 1} = a.csv:{last}"]
    assert copies["count"] == 1


def test_a_pair_is_examined_as_one(run: Run, tmp_path: Path) -> None:
    rows = "".join(f"is it {n}?,it is {n % 4} now,{'ab'[n % 2]}\n" for n in range(24))
    (tmp_path / "a.csv").write_text(
        f"sentence1,sentence2,label\n{rows}is it 0?,it is 1 now,a\nis it 3?,IT IS 3 now,a\n"
    )
    ran = run("doctor", "a.csv", *BASE, "--json")
    assert ran.code == 0, ran.err
    assert {found["check"]: found["places"] for found in ran.json["findings"] if found["count"] == 1} == {
        "duplicates": ["a.csv:27 = a.csv:5"],
        "contradictions": ["a.csv:5 'b', a.csv:27 'a'"],
    }


def test_what_fit_would_refuse_is_found_all_at_once(run: Run, tmp_path: Path) -> None:
    path = write_texts(tmp_path / "a.csv")
    path.write_text(
        path.read_text() + 'one,pos,x\n,pos\n"a fine film, number 61",Pos\n"one more film, number 62",N/A\n'
    )
    ran = run("doctor", "a.csv", *BASE)
    assert ran.code == 1, ran.err
    for wanted in (
        "refused  1 row: row — has 3 fields",
        "refused  1 row: text — is empty",
        "the class 'Pos' has one text",
        'to merge them: --merge-labels "Pos=pos"',
        'to leave these texts out: --merge-labels "N/A="',
        "         a.csv:62\n",
        "fit would refuse this",
    ):
        assert wanted in ran.out, ran.out


def test_a_test_file_is_compared_with_train(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "a.csv")
    (tmp_path / "far").mkdir()
    (tmp_path / "far/b.csv").write_text(
        'text,label\n"a good film, number 3",pos\n"A  BAD film, number 0",neg\n"new",pos\n'
    )
    ran = run("doctor", "a.csv", "--test", "far/b.csv", *BASE)
    assert ran.code == 0, ran.err
    assert "texts    train 60, test 3" in ran.out
    assert "warning  2 texts of test stand in train, too, 1 of them word for word" in ran.out
    assert "         b.csv:2 = a.csv:5, b.csv:3 = a.csv:2\n" in ran.out


def test_the_cleaned_copy_is_accepted_and_the_file_unchanged(run: Run, tmp_path: Path) -> None:
    path = write_texts(tmp_path / "a.csv", header="text,label")
    more = '"a bad film, number 0",neg\n"a  bad FILM, number 0",pos\n"one more film, number 62",nan\n,pos\n'
    more += '"text 9",Pos\n"text 8",Pos\n'
    path.write_text(path.read_text() + more)
    (tmp_path / "b.csv").write_text('text,label\n"a good film, number 3",pos\n"x",neg\n')
    before = path.read_bytes()
    ran = run("doctor", "a.csv", "--test", "b.csv", *BASE, "--fix", "-o", "clean.csv", "--json")
    assert path.read_bytes() == before
    rows = rows_of(tmp_path / "clean.csv")
    assert {row["label"] for row in rows} == {"neg", "pos"}
    texts = [row["text"] for row in rows]
    assert texts.count("a bad film, number 0") == 1  # two say neg, one pos
    assert "a  bad FILM, number 0" not in texts
    assert ran.json["cleaned"]["written"] == len(rows) == 61
    again = run("doctor", "clean.csv", "--test", "b.csv", *BASE, "--json")
    assert again.code == 0
    assert not {"duplicates", "contradictions", "bad rows"} & {found["check"] for found in again.json["findings"]}


def test_fix_never_writes_over_its_input(run: Run, tmp_path: Path) -> None:
    write_texts(tmp_path / "a.csv")
    ran = run("doctor", "a.csv", *BASE, "--fix", "-o", "a.csv", "--overwrite")
    assert ran.code == 2
    assert "input itself" in ran.err
    assert run("doctor", "a.csv", *BASE, "--fix").code == 2


def test_parts_of_one_source_keep_their_names(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name, start in (("train", 0), ("test", 40)):
        rows = "".join(f"text {n} 好,{'ab'[n % 2]}\n" for n in range(start, start + 40))
        (folder / f"{name}.csv").write_text(f"text,label\n{rows}text 41 好,b\n")
    ran = run("doctor", "set", *BASE, "--fix", "-o", "clean.csv")
    assert "         train.csv:42 = " in ran.out or "         test.csv:3 = train.csv:42" in ran.out
    rows = rows_of(tmp_path / "clean.csv")
    assert [row["split"] for row in rows] == ["train"] * 40 + ["test"] * 41
    assert run("doctor", "clean.csv", *BASE, "--json").json["counts"] == {"train": 40, "test": 41}


def test_nothing_wrong_is_said(run: Run, tmp_path: Path) -> None:
    rows = [f"{a} {b} text {n},{'ab'[n % 2]}" for n, (a, b) in enumerate((x, y) for x in "pqrst" for y in "uvwxyz")]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    ran = run("doctor", "a.csv", *BASE)
    assert ran.out.splitlines()[-1] == "found    nothing that needs mending"


@needs_minilm
def test_signs_and_lengths_beyond_the_base(run: Run, tmp_path: Path) -> None:
    rows = [
        f"{'房间很干净' if n == 3 else 'a room'} {'and more ' * (300 if n == 5 else 1)} {n},{'ab'[n % 2]}"
        for n in range(40)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    ran = run("doctor", "a.csv", "--base", "minilm", "--json")
    cut = next(found for found in ran.json["findings"] if found["check"] == "length" and found["level"] == "note")
    assert (cut["count"], cut["places"]) == (1, ["a.csv:7"])
    assert json.dumps(ran.json["tokens"]).count('"cut": 1')


def test_fit_keeps_groups_together_and_points_to_the_doctor(run: Run, tmp_path: Path) -> None:
    rows = [f'{n // 5},"a {("bad", "good")[n % 2]} film, number {n}",{("neg", "pos")[n % 2]}' for n in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["patient,text,label", *rows, rows[0]]) + "\n")
    ran = run("fit", "a.csv", *TRAIN, "--no-baseline", "--group", "patient", "--folds", "2")
    assert ran.code == 0, ran.err
    assert "'patient' on one side" in ran.err
    assert "line by line: filbert doctor a.csv" in ran.err
    assert "Cross-validation in 2 folds, 61 texts: accuracy" in ran.out
    assert run("fit", "a.csv", *TRAIN, "--group", "doctor").err.count("there is no column 'doctor' — columns: ") == 1
    corrected = run("fit", "a.csv", *TRAIN, "-o", "b", "--corrections", "a.csv")
    assert (corrected.code, "has no column corrected" in corrected.err) == (2, True)


NEAR = "a parcel came, and the box was wet and torn and held nothing at all, and nobody cared about it on {}"


def test_texts_without_labels_are_examined_alone(run: Run, tmp_path: Path) -> None:
    lines = [f"line number {n} of it" for n in range(30)]
    (tmp_path / "a.txt").write_text(
        "\n".join([*lines, lines[0], "", NEAR.format("Monday"), NEAR.format("Friday")]) + "\n"
    )
    ran = run("doctor", "a.txt", *BASE)
    assert ran.code == 2
    assert "cannot tell which column is the label" in ran.err
    assert "--unlabelled looks at the texts alone" in ran.err
    ran = run("doctor", "a.txt", "--unlabelled", *BASE, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["task"] is None
    assert ran.json["counts"] == {"train": 34}
    found = {each["check"]: each["places"] for each in ran.json["findings"]}
    assert found["duplicates"] == ["a.txt:31 = a.txt:1"]
    assert found["empty"] == ["a.txt:32"]
    assert len(found["near duplicates"]) == 1
    ran = run("doctor", "a.txt", "--unlabelled", *BASE, "--fix", "-o", "b.csv")
    assert "32 rows; left out or changed: 1 repeated, 1 empty" in ran.out
    assert run("doctor", "a.txt", "--unlabelled", "--label", "x").code == 2


def test_near_duplicates_are_dropped_where_asked_for(run: Run, tmp_path: Path) -> None:
    days = ("Monday", "Tuesday", "Friday")
    rows = [f"{NEAR.format(day)},pos" for day in days] + [
        f"a film number {n},{('neg', 'pos')[n % 2]}" for n in range(20)
    ]
    rows = [f'"{text}",{label}' for text, label in (row.rsplit(",", 1) for row in rows)]
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    ran = run("doctor", "a.csv", *BASE, "--fix", "-o", "all.csv")
    assert "--drop-near keeps the first of each" in ran.out
    assert len(rows_of(tmp_path / "all.csv")) == 23
    ran = run("doctor", "a.csv", *BASE, "--fix", "--drop-near", "-o", "first.csv")
    assert "21 rows; left out or changed: 2 nearly repeated" in ran.out
    assert [row["text"] for row in rows_of(tmp_path / "first.csv")][:2] == [NEAR.format("Monday"), "a film number 0"]
    ran = run("doctor", "a.csv", *BASE, "--drop-near")
    assert ran.code == 2
    assert "add --fix -o cleaned.csv" in ran.err


def test_in_chinese_each_line_is_told_whole(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_texts(tmp_path / "a.csv")
    first = path.read_text().splitlines()[1]
    path.write_text(path.read_text() + f"one,pos,x\n,pos\n{first}\n" + '"one more film, number 62",N/A\n')
    monkeypatch.setenv("FILBERT_LANGUAGE", "zh")
    ran = run("doctor", "a.csv", *BASE)
    assert ran.code == 1, ran.err
    lines = [line for line in ran.out.splitlines() if line and "a.csv:" not in line]
    heads = ("文本数   训练集 ", "词元数   中位数 ", "拒绝     ", "警告     ", "提示     ", "结果     ", "         ")
    assert [line for line in lines if not line.startswith(heads)] == []
    words = re.sub(
        r"'[^']*'|\"[^\"]*\"|--[\w-]+|\bfit\b|a\.csv|[A-Z]+|filbert-mini|quarantine|auto|other|drop|row\b",
        "",
        "\n".join(lines),
    )
    assert re.findall(r"[a-z]{2,}", words) == []
