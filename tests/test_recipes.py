"""Each recipe fits a small table of the form that docs/recipes.md shows; what a recipe cannot hold is refused."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from command import Run

ROOT = Path(__file__).parent.parent
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.toml") if path.stem != "filbert-mini")
PAGE = (ROOT / "docs" / "recipes.md").read_text("utf-8")
TRAIN = ("--base", "tiny", "--epochs", "1", "--device", "cpu", "--precision", "fp32", "--no-baseline")
KINDS = {"task": "single-label", "emotion": "multi-label", "legal": "multi-label", "similarity": "regression"}
KINDS |= {"questions": "question-answering", "summaries": "summarization"}

ROWS = {
    "sentiment": lambda n: {
        "text": f"{('The soup was cold', 'A kind waiter')[n % 2]}, table {n}.",
        "label": ("bad", "good")[n % 2],
    },
    "topics": lambda n: {
        "text": f"{('The keeper saved it', 'Shares fell again', 'Snow is expected')[n % 3]}, report {n}.",
        "topic": ("sport", "money", "weather")[n % 3],
    },
    "intent": lambda n: {
        "text": f"{('freeze my card', 'what is my balance', 'book a table')[n % 3]} please {n}",
        "intent": ("card", "balance", "table")[n % 3],
    },
    "emotion": lambda n: {
        "text": f"{('I could not stop smiling', 'At last it is over', 'We met at noon')[n % 3]} {n}",
        "emotions": ("joy", "joy|relief", "")[n % 3],
    },
    "paraphrase": lambda n: {
        "sentence1": f"Bus {n} was late.",
        "sentence2": f"{('Bus {} came too late.', 'Bus {} is red.')[n % 2]}".format(n),
        "label": ("1", "0")[n % 2],
    },
    "similarity": lambda n: {
        "sentence1": f"A dog sleeps near house {n}.",
        "sentence2": f"A {('dog', 'cat', 'car')[n % 3]} rests near house {n}.",
        "score": str((4.5, 2.25, 0.5)[n % 3]),
    },
    "medical": lambda n: {
        "abstract": f"We followed {n + 20} patients with {('angina', 'asthma')[n % 2]} for a year.",
        "disease": ("heart", "lung")[n % 2],
    },
    "legal": lambda n: {
        "clause": f"{('We may end the service at any time', 'You may write to us', 'Courts of our seat')[n % 3]}, {n}.",
        "unfair": ("termination", "", "termination|jurisdiction")[n % 3],
        "contract": f"shop {n % 10}",
    },
    "questions": lambda n: {
        "question": f"Who opened shop {n}?",
        "context": f"In May {('Ada', 'Bo')[n % 2]} opened shop {n} in the old town.",
        "answer": ("Ada", "Bo")[n % 2],
    },
    "summaries": lambda n: {
        "article": f"The council met on day {n}. It rained. A bridge will be built. People had tea.",
        "summary": f"A bridge will be built, the council said on day {n}.",
    },
}


def write(path: Path, name: str, count: int = 60) -> Path:
    rows = [ROWS[name](n) for n in range(count)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_every_recipe_is_tried_here() -> None:
    assert sorted(ROWS) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_fits_a_table_of_its_form(name: str, run: Run, tmp_path: Path) -> None:
    write(tmp_path / "texts.csv", name)
    told = run("fit", "texts.csv", "--recipe", ROOT / "recipes" / f"{name}.toml", *TRAIN, "-o", "run", "--json")
    assert told.code == 0, told.err
    assert told.json["task"] == KINDS.get(name, KINDS["task"])
    assert told.json["base"] == "tiny"  # the command line wins


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_tells_its_columns_and_base_and_figures_that_are_measured(name: str) -> None:
    (line,) = [each for each in PAGE.splitlines() if f"(../recipes/{name}.toml)" in each]
    text = (ROOT / "recipes" / f"{name}.toml").read_text("utf-8")
    for column in ROWS[name](0):
        assert f"`{column}`" in line
        assert f'"{column}"' in text or name == "questions"  # whose columns are found by their names
    assert re.search(r'^base = "(\w+)"', text, re.M)[1] in line
    results = (ROOT / "bench" / "RESULTS.md").read_text("utf-8")
    for figure in re.findall(r"\d\d\.\d\d", line):
        assert figure in results


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('epochs = "many"', "epochs — is 'many': Input should be a valid number"),
        ("epochs = [1]", "epochs — is [1] — write one value"),
        ("epoch = 1", "epoch — is not an option — known options are abstain, "),
        ('adapt = "yes"', "adapt — is 'yes' — write true or false"),
        ("[fit]\nepochs = 1", "fit — is not an option"),
        ('recipe = "other.toml"', "recipe — is not an option"),
    ],
)
def test_what_a_recipe_cannot_hold_is_refused_by_its_field(line: str, message: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(line, encoding="utf-8")
    write(tmp_path / "texts.csv", "sentiment")
    ran = run("fit", "texts.csv", "--recipe", "r.toml")
    assert ran.code == 2
    assert message in " ".join(ran.err.split())


def test_a_recipe_may_hold_lists_and_flags_and_dashes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        'task = "multi-label"\nslice = ["contract"]\nno-baseline = true\nepochs = 1\nbase = "tiny"\n'
    )
    write(tmp_path / "texts.csv", "legal")
    told = run("fit", "texts.csv", "--recipe", "r.toml", "--label", "unfair", "--text", "clause", "-o", "run", "--json")
    assert told.code == 0, told.err
    assert told.json["baseline"] is None
