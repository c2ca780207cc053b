"""Whatever a user might pass, for `hypothesis`: tables, targets, weights and parameters."""

import re
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse as sp
from hypothesis import strategies as st
from sklearn.gaussian_process import kernels
from sklearn.utils._param_validation import Interval, Options, StrOptions

from tests.sources import Lazy, on_disk

SIZES = [0, 1, 2, 3, 5, 12, 40]


def _holes(rng, shape, value):
    X = rng.standard_normal(shape)
    X[rng.random(shape) < 0.2] = value
    return X


def _one(rng, shape, value):
    X = rng.standard_normal(shape)
    if X.size:
        X.flat[rng.integers(X.size)] = value
    return X


# How entries are drawn.
KINDS = {
    "normal": lambda r, s: r.standard_normal(s),
    "counts": lambda r, s: r.integers(0, 5, s).astype(float),
    "pairs": lambda r, s: r.integers(0, 4, (s[0], 2)).astype(float),
    "gram": lambda r, s: (X := r.standard_normal(s)) @ X.T,
    "constant": lambda r, s: np.full(s, 3.7),
    "zeros": lambda r, s: np.zeros(s),
    "constant column": lambda r, s: r.standard_normal(s) * (np.arange(s[1]) > 0) + 5,
    "duplicate rows": lambda r, s: np.repeat(r.standard_normal((1, s[1])), s[0], axis=0),
    "rank one": lambda r, s: np.outer(r.standard_normal(s[0]), r.standard_normal(s[1])),
    "mostly zeros": lambda r, s: r.standard_normal(s) * (r.random(s) < 0.2),
    "negative": lambda r, s: -r.random(s) - 1,
    "heavy entry": lambda r, s: _one(r, s, 1e9),
    "units": lambda r, s: r.standard_normal(s) * 10.0 ** r.integers(-12, 12, s[1]),
    "far": lambda r, s: 1e8 + r.standard_normal(s),
    "huge": lambda r, s: r.standard_normal(s) * 1e200,
    "largest": lambda r, s: np.where(r.random(s) < 0.5, 1.0, -1.0) * np.finfo(float).max,
    "tiny": lambda r, s: r.standard_normal(s) * 1e-200,
    "denormal": lambda r, s: r.integers(0, 9, s) * 5e-324,
    "holes": lambda r, s: _holes(r, s, np.nan),
    "one NaN": lambda r, s: _one(r, s, np.nan),
    "infinite": lambda r, s: _one(r, s, np.inf),
    "empty column": lambda r, s: np.where(np.arange(s[1]) == 0, np.nan, r.random(s)),
    "all NaN": lambda r, s: np.full(s, np.nan),
}
DTYPES = ["f8", "f4", "f2", "i8", "u1", "?", "O", "U", "M8[s]", "c16", ">f8", "g"]


def _duplicated(X):
    half = sp.coo_array(X / 2)
    places = np.tile(half.row, 2), np.tile(half.col, 2)
    return sp.coo_array((np.tile(half.data, 2), places), shape=X.shape).tocsr()


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def _strided(X):
    return np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::-2]


def _long_indices(X):
    A = sp.csr_array(X)
    A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    return A


def _mapped(X):
    folder = tempfile.TemporaryDirectory()
    file = on_disk(X, Path(folder.name))
    file.folder = folder
    return file


def _unknown_chunks(X):
    A = da.from_array(X, chunks=(7, -1))
    return A[da.ones(len(X), chunks=7, dtype=bool)]


# What holds them.
CONTAINERS = {
    "array": np.asarray,
    "Fortran": np.asfortranarray,
    "read-only": _read_only,
    "strided": _strided,
    "list": lambda X: X.tolist(),
    "csr_array": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "csc_array": sp.csc_array,
    "coo_array": sp.coo_array,
    "lil_array": sp.lil_array,
    "dok_array": sp.dok_array,
    "bsr_array": sp.bsr_array,
    "duplicates": _duplicated,
    "long indices": _long_indices,
    "pandas": lambda X: pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])]),
    "nullable": lambda X: pd.DataFrame(X).convert_dtypes(),
    "polars": lambda X: pl.DataFrame(X, schema=[f"c{i}" for i in range(X.shape[1])]),
    "masked": lambda X: np.ma.masked_array(X, np.eye(*X.shape, dtype=bool)),
    "memmap": _mapped,
    "lazy": Lazy,
    "dask": lambda X: da.from_array(X, chunks=(5, -1)),
    "unknown chunks": _unknown_chunks,
    "iterator": lambda X: iter([X[:3], X[3:]]),
    "list of blocks": lambda X: [X[:3], X[3:]],
    "vector": np.ravel,
    "cube": lambda X: X[np.newaxis],
    "text": str,
    "nothing": lambda X: None,
}


@dataclass(frozen=True)
class Table:
    """A table that `build` makes, the same each time."""

    kind: str
    shape: tuple
    dtype: str = "f8"
    container: str = "array"
    seed: int = 0

    @cached_property
    def values(self):
        with np.errstate(all="ignore"):
            X = KINDS[self.kind](np.random.default_rng(self.seed), self.shape)
            if self.dtype in ("i8", "u1", "M8[s]"):
                X = np.nan_to_num(X).clip(-1e18, 1e18).astype("i8")
            return X.astype(self.dtype)

    @property
    def largest(self):
        """Return the largest magnitude but of NaN; 0 where there are no numbers."""
        numbers = self.values if self.values.dtype.kind in "fiubOU" else np.zeros(1)
        return np.nanmax(np.abs(numbers.astype(float)), initial=0.0)

    def build(self):
        try:
            return CONTAINERS[self.container](self.values)
        except (TypeError, ValueError, NotImplementedError):
            return self.values


def tables(kind="normal", shape=(40, 5), kinds=tuple(KINDS)):
    """Return a strategy of tables, most of which are ordinary in each respect."""

    def mostly(usual, others):
        return st.sampled_from([usual] * 4 * len(others) + list(others))

    square = shape[0] == shape[1]
    sizes = [(n, m) for n in SIZES for m in SIZES if n == m or not square]
    return st.builds(
        Table,
        mostly(kind, kinds),
        mostly(shape, sizes),
        mostly("f8", DTYPES),
        mostly("array", CONTAINERS),
        st.integers(0, 2),
    )


TARGETS = {
    "normal": lambda r, n: r.standard_normal(n),
    "classes": lambda r, n: np.arange(n) % 2,
    "names": lambda r, n: np.array(["a", "b", "c"])[np.arange(n) % 3],
    "one class": lambda r, n: np.zeros(n, dtype=int),
    "constant": lambda r, n: np.full(n, 2.5),
    "two columns": lambda r, n: r.standard_normal((n, 2)),
    "column": lambda r, n: r.standard_normal((n, 1)),
    "no column": lambda r, n: np.empty((n, 0)),
    "cube": lambda r, n: np.ones((n, 1, 1)),
    "single": lambda r, n: r.standard_normal(n).astype("f4"),
    "huge": lambda r, n: r.standard_normal(n) * 1e200,
    "tiny": lambda r, n: r.standard_normal(n) * 1e-200,
    "NaN": lambda r, n: np.full(n, np.nan),
    "infinite": lambda r, n: np.full(n, np.inf),
    "None among names": lambda r, n: np.array(["a", None] * n, dtype=object)[:n],
    "longer": lambda r, n: r.standard_normal(n + 1),
    "sparse": lambda r, n: sp.csr_array(np.ones((n, 1))),
    "masked": lambda r, n: np.ma.masked_array(np.ones(n), np.arange(n) == 0),
    "series": lambda r, n: pd.Series(r.standard_normal(n)),
    "list": lambda r, n: list(range(n)),
    "dates": lambda r, n: np.arange(n).astype("M8[D]"),
    "complex": lambda r, n: np.ones(n) * 1j,
    "dask": lambda r, n: da.ones(n, chunks=3),
    "number": lambda r, n: 3.0,
    "None": lambda r, n: None,
}
WEIGHTS = {
    "None": lambda r, n: None,
    "random": lambda r, n: r.random(n),
    "some zero": lambda r, n: np.arange(n) % 2,
    "zero": lambda r, n: np.zeros(n),
    "one": lambda r, n: 1.0 * (np.arange(n) == 0),
    "negative": lambda r, n: -np.ones(n),
    "NaN": lambda r, n: np.full(n, np.nan),
    "huge": lambda r, n: np.full(n, 1e300),
    "tiny": lambda r, n: np.full(n, 1e-300),
    "longer": lambda r, n: np.ones(n + 1),
    "number": lambda r, n: 2.0,
    "names": lambda r, n: np.full(n, "a"),
}


@dataclass(frozen=True)
class Vector:
    """A target or weights, made for a number of rows."""

    kind: str
    of: dict = field(repr=False)

    @property
    def largest(self):
        return {"huge": 1e300, "tiny": 1e-300}.get(self.kind, 1.0)

    def build(self, n_rows):
        return self.of[self.kind](np.random.default_rng(1), n_rows)


def targets(usual):
    """Return a strategy of targets, of which most are of the kind `usual`."""
    kinds = st.sampled_from([*TARGETS, *[usual] * 3 * len(TARGETS)])
    return kinds.map(lambda kind: Vector(kind, TARGETS))


usual_weights = ["None"] * 3 * len(WEIGHTS)
weights = st.sampled_from([*WEIGHTS, *usual_weights]).map(
    lambda kind: Vector(kind, WEIGHTS)
)


def linear(x, y):
    """Return the inner product of two samples, as a kernel."""
    return float(np.dot(x, y))


WRONG = [
    None,
    -1,
    0,
    2.5,
    np.nan,
    np.inf,
    "nonsense",
    [],
    [1.0],
    {},
    1j,
    object,
    b"a",
    True,
]
ARRAYS = [
    [0, 1],
    [[0.5, 1.0]],
    [0.1, 1.0],
    [],
    [np.nan],
    ["a"],
    np.ones((2, 5)),
    [-1],
    3,
    [[]],
]
KERNELS = [
    kernels.RBF(),
    kernels.Matern(nu=0.5),
    2.0 * kernels.RBF([1.0] * 5) + kernels.WhiteKernel(),
    kernels.DotProduct() ** 2,
    kernels.DotProduct() ** 0.5,
    kernels.ConstantKernel(),
    kernels.ExpSineSquared(),
    kernels.RationalQuadratic(),
    kernels.WhiteKernel(),
    kernels.PairwiseKernel(metric="laplacian"),
    kernels.CompoundKernel([kernels.RBF(), kernels.RBF(2.0)]),
]
INTEGERS = [1, 2, 3, 5, 30, np.int64(2), np.uint8(3)]
REALS = [1e-12, 1e-3, 0.1, 0.5, 1.0, 2, 100.0, np.float32(0.3), 1e-300, 1e300]
# Parameters that may well be larger than the data; of others, that is to wait long.
SIZED = ("n_components", "n_landmarks", "rank", "block_size", "sketch_size", "n_rows")


def _of_constraint(name, constraint):
    """Return values that a constraint of scikit-learn allows."""
    if isinstance(constraint, Interval):
        values = INTEGERS if constraint.type is Integral else REALS
        ends = [constraint.left, constraint.right]
        large = [10**6] * (constraint.type is Integral and name in SIZED)
        return [v for v in [*values, *ends, *large] if v is not None and v in constraint]
    if isinstance(constraint, Options | StrOptions):
        return sorted(constraint.options, key=str)
    named = {
        "boolean": [True, False, np.True_],
        "random_state": [0, None, np.random.RandomState(0), np.int64(3)],
        "array-like": ARRAYS,
        "sparse matrix": [sp.csr_array(np.eye(3, 5))],
        Integral: [1, 2, -1, 0, np.int64(2)],
        Real: [0.0, np.nan, -1, 2, np.float32(3.7)],
        dict: [{}, {"gamma": 1.0}, {"nonsense": 1}],
        callable: [linear, *KERNELS],
        kernels.Kernel: KERNELS,
        np.ndarray: [np.full(40, 0.1), np.ones(3)],
        None: [None],
    }
    return named[constraint]


def parameters(allowed):
    """Return a strategy of up to four parameters, an eighth of which are not allowed.

    Parameters
    ----------
    allowed : dict of str to list
        The values allowed for each.
    """

    def of(names):
        values = {name: [st.sampled_from(allowed[name])] * 7 for name in names}
        wrong = st.sampled_from(WRONG)
        return st.fixed_dictionaries({n: st.one_of(*v, wrong) for n, v in values.items()})

    names = st.lists(st.sampled_from(sorted(allowed) or [None]), max_size=4, unique=True)
    return names.flatmap(of) if allowed else st.just({})


def allowed_by(estimator_class):
    """Return the values allowed for each parameter of an estimator."""
    return {
        name: [
            value
            for constraint in constraints
            for value in _of_constraint(name, constraint)
            if not (name == "optimizer" and constraint is callable)
        ]
        for name, constraints in estimator_class._parameter_constraints.items()
    }


def documented(function, names):
    """Return values for parameters of a function: the strings that its docstring lists."""
    kinds = {
        "int": INTEGERS,
        "float": REALS,
        "bool": [True, False],
        "RandomState": [0, None, np.random.RandomState(0), np.random.default_rng(0)],
        "array": ARRAYS,
        "dict": [{}, {"a": np.ones((7, 40))}, {"b": np.zeros(5)}, {"c": np.ones(3)}],
        "None": [None],
    }
    allowed = {}
    for name in names:
        line = re.search(
            rf"^    (?:\w+, )*{name}(?:, \w+)* : (.*)$", function.__doc__, re.M
        )[1]
        allowed[name] = re.findall(r'"([\w-]+)"', line)
        for word, values in kinds.items():
            if re.search(rf"\b{word}", line):
                allowed[name] += values
        if name in SIZED:
            allowed[name].append(10**6)
        if name == "budget":
            # Those of a network of some layers.
            allowed[name] = [0.5, 1.0, 40, 100, 0.01, 10**6]
    return allowed
