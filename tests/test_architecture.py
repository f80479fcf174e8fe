"""The shape of the code: imports point down, nothing is too long, nothing can run code from a file.

A test here fails with the names of all offenders. The order of the layers is DESIGN's; this file is where it is kept.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "filbert"

LAYERS = {  # module or folder → layer; an import goes to a lower layer, or stays in its own family
    **dict.fromkeys(("errors", "records", "config", "foreign", "watch", "crc32c"), 0),
    **dict.fromkeys(("text", "data", "metrics", "doubt", "batching", "plan", "runs", "crew"), 1),
    **dict.fromkeys(("tensorflow", "unpickled", "checksum", "native", "linear", "cooccurrence"), 1),
    **dict.fromkeys(("model", "folders", "adamw", "muon", "cascade", "hugging_face"), 2),
    **dict.fromkeys(("tasks", "hub", "opened"), 3),
    **dict.fromkeys(("checkpoint", "optimise", "journal", "bases"), 4),
    **dict.fromkeys(("train", "engine", "cloze", "convert", "classify_job", "pretrain_job", "preparation", "probe"), 5),
    **dict.fromkeys(("evaluate", "report", "explain", "export", "scored", "front"), 6),
    "pretrain": 7,
    "adaptation": 8,
    "fit": 9,
    **dict.fromkeys(("estimator", "console"), 10),
    "cli": 11,
    "__main__": 12,
}
FAMILIES = {**dict.fromkeys(("errors", "records", "config", "foreign"), "ground"), "evaluate": "report"}

LONGEST = 80  # lines of a function
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
    """The entry of LAYERS a module belongs to."""
    return module.split(".")[0]


def layer_of(module: str) -> int:
    return LAYERS[part_of(module)]


def family_of(module: str) -> str:
    return FAMILIES.get(part_of(module), part_of(module))


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
    assert [module for module in GRAPH if part_of(module) not in LAYERS] == []


def test_imports_point_down() -> None:
    wrong = [
        f"{module} ({layer_of(module)}) imports {other} ({layer_of(other)})"
        for module, others in GRAPH.items()
        for other in others
        if layer_of(other) >= layer_of(module) and family_of(other) != family_of(module)
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


def test_train_and_engine_are_apart() -> None:
    assert "engine" not in GRAPH["train"]
    assert "train" not in GRAPH["engine"]


def test_tasks_are_apart() -> None:
    tasks = {module for module in GRAPH if module.startswith("tasks.")}
    assert {task: GRAPH[task] & tasks for task in tasks if GRAPH[task] & tasks} == {}


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
