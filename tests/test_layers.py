"""Imports go down only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_rnla

ROOT = Path(sklearn_rnla.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
HERE = Path(__file__).parent

# Of folders that mirror the package. Those beside this file are named by topic.
TESTS = sorted(path for path in HERE.rglob("test_*.py") if path.parent != HERE)


def layer(module):
    """Return 0 for helpers, 1 for sketching, operators, 2 for linalg, 3 for estimators."""
    part = module.split(".")[1] if "." in module else ""
    if part in {"_random", "_sklearn", "_fitting", "_refusals", "_kernels", "_typing"}:
        return 0
    if part in {"sketching", "operators"}:
        return 1
    if part in {"linalg", "_identifiers", "_validation"}:
        return 2
    return 3 if part else 4


def name_of(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Yield (module, names) of every import, wherever it stands, made absolute."""
    package = (
        name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    )
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*up, *([node.module] if node.module else [])])
            yield base, [alias.name for alias in node.names]


def own_imports(path):
    modules = {name_of(p) for p in FILES}
    for base, names in imports(path):
        if base.split(".")[0] != "sklearn_rnla":
            continue
        for name in names:
            yield f"{base}.{name}" if f"{base}.{name}" in modules else base


def test_there_are_modules_to_look_at():
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_go_down_only(path):
    own = name_of(path)
    for imported in own_imports(path):
        assert layer(imported) <= layer(own), f"{own} imports {imported}"
        if layer(own) == layer(imported) == 3:
            assert own.split(".")[1] == imported.split(".")[1], f"{own} imports {imported}"
        if layer(own) == 1:
            sibling = {"sketching": "operators", "operators": "sketching"}
            assert imported.split(".")[1] != sibling[own.split(".")[1]]


# Which chapters of `linalg` may lean on which others, besides `dense`.
CHAPTERS = {
    "columns": {"singular"},
    "completion": set(),
    "dense": set(),
    "gaussian_process": {"nystroem"},
    "least_squares": set(),
    "nystroem": set(),
    "singular": set(),
}


def chapter(module):
    """Return the folder of `linalg` that a module stands in, None for drivers."""
    parts = module.split(".")
    is_inside = parts[1] == "linalg" and (ROOT / Path(*parts[1:3])).is_dir()
    return parts[2] if is_inside and len(parts) > 2 else None


def test_every_folder_of_linalg_is_a_chapter_of_the_table():
    folders = {path.parent.name for path in ROOT.glob("linalg/*/__init__.py")}
    assert folders == set(CHAPTERS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_chapters_of_linalg_stand_on_their_own(path):
    own = chapter(name_of(path)) if path.parent != ROOT else None
    if own is None:
        return
    for imported in own_imports(path):
        if imported.split(".")[1] == "linalg":
            assert chapter(imported) in {own, "dense"} | CHAPTERS[own], imported


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_private_name_crosses_packages(path):
    package = (
        name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    )
    for base, names in imports(path):
        if base.split(".")[0] != "sklearn_rnla" or base == "sklearn_rnla":
            continue
        home = (
            base
            if (ROOT.parent / Path(*base.split("."))).is_dir()
            else base.rpartition(".")[0]
        )
        if home == package or home == "sklearn_rnla":
            continue
        private = [part for part in [*base.split(".")[2:], *names] if part.startswith("_")]
        assert not private, f"{name_of(path)} imports {private} from {base}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_short(path):
    text = path.read_text()
    documented = ast.Module, ast.ClassDef, ast.FunctionDef
    docs = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            docs |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), 1)
    code = [n for n, line in lines if n not in docs and line.split("#")[0].strip()]
    assert len(code) <= 450


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(HERE)))
def test_tests_stand_where_their_module_does(path):
    folder = ROOT / path.parent.relative_to(HERE)
    modules = {p.stem.lstrip("_") for p in [*folder.glob("*.py"), *folder.glob("*/")]}
    topic = path.stem.removeprefix("test_")
    assert any(topic == name or topic.startswith(name + "_") for name in modules)


def test_imports_make_no_circle():
    graph = {name_of(path): set(own_imports(path)) - {name_of(path)} for path in FILES}
    # A package's module may import a sibling, and the package its modules.
    graph = {
        name: {other for other in others if not name.startswith(other + ".")}
        for name, others in graph.items()
    }
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name in done:
            return
        path.append(name)
        for other in graph[name]:
            visit(other)
        path.pop()
        done.add(name)

    for name in graph:
        visit(name)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_shims_import_what_scikit_learn_hides(path):
    if path.name == "_sklearn.py":
        return
    for base, names in imports(path):
        if base.split(".")[0] == "sklearn":
            assert not [part for part in [*base.split("."), *names] if part.startswith("_")]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_kernels_import_numba(path):
    if path.parent.name != "_kernels":
        assert not [base for base, _ in imports(path) if base.split(".")[0] == "numba"]


def test_importing_the_package_imports_no_extra():
    code = (
        "import sys, sklearn_rnla; "
        "print([m for m in ('numba', 'dask', 'torch', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"


def test_submodules_are_attributes_without_an_import_of_their_own():
    code = (
        "import sklearn_rnla as s; "
        "s.linalg.svd; s.neural.lora_init; s.plotting; s.sketching; s.operators; "
        "print('torch' in dir(s.neural))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "True"


def test_names_are_found_when_asked_for():
    assert dir(sklearn_rnla) == sorted(sklearn_rnla.__all__)
    assert {*sklearn_rnla._MODULES, *sklearn_rnla._SUBMODULES} < set(sklearn_rnla.__all__)
    for name in sklearn_rnla.__all__:
        assert getattr(sklearn_rnla, name) is not None
    with pytest.raises(AttributeError, match="RandomPCA"):
        sklearn_rnla.RandomPCA  # noqa: B018
