"""The shape of the code: imports point down, nothing is too long, nothing can run code from a file.

A test here fails with the names of all offenders. The order of the layers is DESIGN's; this file is where it is kept.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "filbert"

LAYERS: tuple[tuple[str, ...], ...] = (  # lowest first; an import goes to a lower layer or stays in its package
    ("language",),
    ("errors", "version", "progress", "native"),
    ("records", "config", "files", "hashing", "failures"),
    ("owned", "report"),
    ("text", "metrics", "model"),
    ("linear", "readers", "training"),
    ("folder",),
    ("bases", "data", "tasks"),
    ("corpus", "inference"),
    ("pretraining",),
    ("finetuning", "server", "export"),
    ("labelling",),
    ("estimator", "cli"),
    ("__main__",),
)
LAYER = {part: number for number, parts in enumerate(LAYERS) for part in parts}

LONGEST = 80  # lines of a function
MOST_LINES = 400  # of a file
POSITIONAL = 5  # arguments

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve", "cloudpickle"}
UNSAFE_BUILTINS = {"eval", "exec", "compile", "__import__"}
UNSAFE_CALLS = {("torch", "load"), ("torch", "save"), ("yaml", "load"), ("np", "load"), ("numpy", "load")}
UNSAFE_METHODS = {"extractall"}
UNSAFE_KEYWORDS = {"trust_remote_code", "allow_pickle"}

HEAVY = ("torch", "sklearn", "transformers", "pyarrow", "numpy", "tokenizers", "safetensors", "huggingface_hub", "rich")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(path: Path) -> str:
    """`filbert/readers/lines.py` → `data.lines`; a package is its folder's name, the root is empty."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def part_of(module: str) -> str:
    """The package, or the file beside the packages, that a module belongs to."""
    return module.split(".")[0]


def imports(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever the import stands."""
    found = set()
    for node in ast.walk(MODULES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import"
            source = node.module or ""
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner.removeprefix("filbert.") in MODULES else source)
    ours = {name.removeprefix("filbert.") for name in found if name.startswith("filbert.")}
    return ours & set(MODULES)


GRAPH = {module: imports(module) for module in MODULES if module}


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def public(tree: ast.Module) -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """Public functions, classes and methods."""
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, Function) and not inner.name.startswith("_"):
                        yield f"{node.name}.{inner.name}", inner


def test_every_module_has_a_layer() -> None:
    assert [module for module in GRAPH if part_of(module) not in LAYER] == []


def reached(module: str) -> set[str]:
    """All modules that a module depends on, however far down."""
    found: set[str] = set()
    left = [module]
    while left:
        left += (new := GRAPH[left.pop()] - found)
        found |= new
    return found


def test_imports_go_down() -> None:
    wrong = [
        f"{module} ({LAYER[part_of(module)]}) reaches {other} ({LAYER[part_of(other)]})"
        for module in GRAPH
        for other in sorted(reached(module))
        if part_of(other) != part_of(module) and LAYER[part_of(other)] >= LAYER[part_of(module)]
    ]
    assert wrong == []


def test_no_package_comes_back_to_itself() -> None:
    """A package that needs another one which needs it could not be understood, or taken out, alone."""
    wrong = [
        f"{module} → {other} → {part_of(module)}"
        for module in GRAPH
        for other in GRAPH[module]
        if part_of(other) != part_of(module) and any(part_of(far) == part_of(module) for far in reached(other))
    ]
    assert wrong == []


def test_no_import_cycles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(GRAPH[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in GRAPH:
        visit(module, ())


def test_the_training_loop_and_the_engine_are_apart() -> None:
    assert not any(other.startswith("inference") for other in reached("training.loop"))
    assert not any(other.startswith("training") for other in reached("inference.engine"))


def test_tasks_are_apart() -> None:
    def folder(module: str) -> str:
        return ".".join(module.split(".")[:2])

    packages = {folder(module) for module in GRAPH if module.startswith("tasks.") and module.count(".") > 1}
    wrong = [
        f"{module} imports {other}"
        for module in GRAPH
        for other in GRAPH[module]
        if folder(module) in packages and folder(other) in packages and folder(other) != folder(module)
    ]
    assert wrong == []


def strings_and_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names and strings of a module with their lines, without docstrings and the help texts of options."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg == "help":
            skipped.update(id(inner) for inner in ast.walk(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.alias):
            yield node.lineno, node.name
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


def test_nothing_outside_tasks_names_a_task() -> None:
    """A task more is a package and a line in the registry: no other module may know which tasks there are."""
    from filbert.tasks import TASKS

    words = "|".join(name.replace("-", "[-_ ]") for name in TASKS)
    named = re.compile(rf"(?<!logistic )(?<!ridge )\b({words})\b")
    wrong = [
        f"{module}:{line} {found[0]}"
        for module, tree in MODULES.items()
        if part_of(module) != "tasks"
        for line, text in strings_and_names(tree)
        if (found := named.search(text))
    ]
    assert wrong == []


def test_a_named_task_is_found() -> None:
    code = '"""single-label"""\nfrom filbert.tasks import single_label\nf(help="regression")\nx = "regression"'
    tree = ast.parse(code)
    found = [text for _, text in strings_and_names(tree)]
    assert "single_label" in found
    assert "regression" in found
    assert "single-label" not in found


def test_files_are_short() -> None:
    files = [path for folder in (ROOT, ROOT.parent / "tests") for path in folder.rglob("*.py")]
    lines = {path.name: len(path.read_text("utf-8").splitlines()) for path in files}
    long = [f"{name}: {count} lines" for name, count in lines.items() if count > MOST_LINES]
    assert long == []


def test_tests_mirror_the_packages() -> None:
    """Each folder of tests is a package."""
    folders = {path.name for path in (ROOT.parent / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= {part_of(module) for module in GRAPH}


def test_functions_are_short() -> None:
    long = [
        f"{module}.{node.name}: {length} lines"
        for module, tree in MODULES.items()
        for node in functions(tree)
        if (length := (node.end_lineno or 0) - node.lineno + 1) > LONGEST
    ]
    assert long == []


def test_few_positional_arguments() -> None:
    many = []
    for module, tree in MODULES.items():
        for node in functions(tree):
            named = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            count = len(named) - (named[:1] in (["self"], ["cls"]))
            if count > POSITIONAL:
                many.append(f"{module}.{node.name}: {count}")
    assert many == []


def test_public_names_are_typed() -> None:
    untyped = []
    for module, tree in MODULES.items():
        for name, node in public(tree):
            if isinstance(node, ast.ClassDef):
                continue
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            bare = [a.arg for a in given if a and a.annotation is None and a.arg not in ("self", "cls")]
            if bare or node.returns is None:
                untyped.append(f"{module}.{name}: {', '.join(bare) or 'what it returns'}")
    assert untyped == []


def test_public_names_are_documented() -> None:
    bare = [module or "filbert" for module, tree in MODULES.items() if not ast.get_docstring(tree)]
    for module, tree in MODULES.items():
        bare += [f"{module}.{name}" for name, node in public(tree) if not ast.get_docstring(node)]
    assert bare == []


def unsafe(tree: ast.AST) -> Iterator[str]:
    """What in a module could run code from a file, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names}
            roots = {node.module or ""} if isinstance(node, ast.ImportFrom) else names
            yield from (f"{node.lineno}: {n}" for n in {name.split(".")[0] for name in roots} & UNSAFE_MODULES)
            if isinstance(node, ast.ImportFrom):
                yield from (f"{node.lineno}: {node.module}.{n}" for n in names if (node.module, n) in UNSAFE_CALLS)
        elif isinstance(node, ast.Name) and node.id in UNSAFE_BUILTINS:
            yield f"{node.lineno}: {node.id}"
        elif isinstance(node, ast.Attribute):
            pair = (node.value.id if isinstance(node.value, ast.Name) else "", node.attr)
            if pair in UNSAFE_CALLS or node.attr in UNSAFE_METHODS:
                yield f"{node.lineno}: {pair[0]}.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg in UNSAFE_KEYWORDS:
            yield f"{node.value.lineno}: {node.arg}"


def test_nothing_runs_code_from_files() -> None:
    assert [f"{module}:{found}" for module, tree in MODULES.items() for found in unsafe(tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "from torch import load",
        "eval(text)",
        "archive.extractall(folder)",
        "yaml.load(text)",
        "np.load(path, allow_pickle=True)",
        "f(trust_remote_code=False)",
    ],
)
def test_the_unsafe_is_found(code: str) -> None:
    assert list(unsafe(ast.parse(code)))


def test_model_eval_is_not_the_builtin() -> None:
    assert list(unsafe(ast.parse("model.eval(); re.compile('a'); self.load(path)"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import filbert",
        "import filbert.cli",
        "sys.argv = ['filbert', '--help']; from filbert.cli import main; main()",
        "sys.argv = ['filbert', 'fit', '--help']; from filbert.cli import main; main()",
    ],
)
def test_light_import(code: str) -> None:
    watched = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "loaded: []"
