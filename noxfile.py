#!/usr/bin/env -S uv run --script
# /// script
# dependencies = ["nox>=2024.10"]
# ///
"""Sessions of development, such as ``nox -s tests``, ``oldest``, ``docs`` or ``types``."""

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv|virtualenv"


@nox.session
def lint(session):
    """Style of code and of docstrings, and spelling."""
    session.install("ruff>=0.9", "codespell>=2.4")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")


@nox.session
def types(session):
    """Check the files that use the package as others would, and the types of all it has."""
    session.install(".[plot]", "pandas", "mypy>=2.4", "pyright[nodejs]>=1.1.414")
    session.run("mypy")
    session.run("pyright")
    session.run("python", ".ci/check_types.py")


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session):
    """Run the suite on the newest dependencies."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


@nox.session(python="3.11", default=False)
def oldest(session):
    """Run the suite on the oldest dependencies."""
    session.install("-e", ".[test]", "-c", ".ci/oldest.txt")
    session.run("python", "-m", "pytest", "-n", "2", *session.posargs)


@nox.session(default=False)
def docs(session):
    """Build the documentation; a warning is an error."""
    session.install(".[doc]")
    session.run("python", "-m", "sphinx", "-W", "-b", "html", "doc", "doc/_build/html")


@nox.session(default=False)
def bench(session):
    """Run benchmarks, as in ``nox -s bench -- pca --quick``."""
    session.install("-e", ".[bench]")
    session.run("python", "-m", "benchmarks", *(session.posargs or ["everyday", "--quick"]))


if __name__ == "__main__":
    nox.main()
