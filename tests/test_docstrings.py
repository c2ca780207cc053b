"""Docstrings of public objects pass the checks of ``[tool.numpydoc_validation]``."""

import inspect
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import get_validation_checks, validate

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
MODULES = [
    "sklearn_rnla",
    "sklearn_rnla.linalg",
    "sklearn_rnla.neural",
    "sklearn_rnla.operators",
    "sklearn_rnla.plotting",
    "sklearn_rnla.sketching",
]


def own_members(cls):
    """Return the public methods and properties written in the class itself.

    Those that have no docstring inherit one; scikit-learn's are not ours to check.
    """
    return [
        name
        for name, member in vars(cls).items()
        if not name.startswith("_")
        and (inspect.isfunction(member) or isinstance(member, property))
        and getattr(member, "__module__", cls.__module__).startswith("sklearn_rnla")
        and member.__doc__
    ]


def public_objects():
    """Return dotted names and objects: all of ``__all__`` that can be called."""
    found = {}
    for module_name in MODULES:
        module = import_module(module_name)
        for name in module.__all__:
            if callable(getattr(module, name)):
                found[f"{module_name}.{name}"] = getattr(module, name)
    return found


OBJECTS = public_objects()
CLASSES = {name: found for name, found in OBJECTS.items() if inspect.isclass(found)}
NAMED_TUPLES = {name: found for name, found in CLASSES.items() if issubclass(found, tuple)}
NAMES = [
    *OBJECTS,
    *(f"{name}.{member}" for name, cls in CLASSES.items() for member in own_members(cls)),
]


@pytest.fixture(scope="module")
def checks():
    config = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    return get_validation_checks(set(config["tool"]["numpydoc_validation"]["checks"]))


@pytest.mark.parametrize("name", NAMES)
def test_docstring_is_valid(name, checks):
    # Users read the fields of a result, they do not pass them: those are "Attributes",
    # and the test below looks for each of them.
    excused = {"PR01"} if name in NAMED_TUPLES else set()
    errors = [
        f"{code}: {message}"
        for code, message in validate(name)["errors"]
        if code in checks - excused
    ]
    assert not errors, "\n".join(errors)


@pytest.mark.parametrize("name", OBJECTS)
def test_public_object_has_a_docstring_of_its_own(name):
    assert OBJECTS[name].__doc__


@pytest.mark.parametrize("name", OBJECTS)
def test_public_object_has_an_example(name):
    assert ">>> " in OBJECTS[name].__doc__


@pytest.mark.parametrize("name", NAMED_TUPLES)
def test_named_tuple_documents_its_fields(name):
    documented = [
        attribute.name for attribute in ClassDoc(NAMED_TUPLES[name])["Attributes"]
    ]
    assert documented == list(NAMED_TUPLES[name]._fields)


def test_docstrings_of_every_module_and_of_methods_are_checked(checks):
    assert checks
    for module_name in MODULES:
        assert any(name.startswith(module_name) for name in OBJECTS)
    assert {
        "sklearn_rnla.RandomizedPCA",
        "sklearn_rnla.RandomizedPCA.partial_fit",
        "sklearn_rnla.linalg.randomized_svd",
        "sklearn_rnla.linalg.SVD",
        "sklearn_rnla.sketching.SparseSign",
        "sklearn_rnla.operators.RowMatrix.fold",
    } <= set(NAMES)
    assert NAMED_TUPLES
