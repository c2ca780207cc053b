"""What no estimator and no function takes, and what to pass instead."""

import numpy as np
import scipy.sparse as sp

from ._sklearn import assert_all_finite

FILL_FIRST = (
    "Missing entries must be filled in first, for example by sklearn_rnla.MatrixCompleter; "
    "only RandomizedPCA(missing='em') takes them as unknown."
)


class NotFiniteError(ValueError):
    """NaN or infinity where there may be none."""


def refuse_masked(X, name="X"):
    """Raise ValueError where X, which errors call `name`, has masked entries."""
    rows = X if isinstance(X, list | tuple) else (X,)
    if any(np.ma.is_masked(row) for row in rows):
        raise ValueError(
            f"{name} is a masked array with masked entries: fill them, or use "
            "MatrixCompleter, where a mask is a missing entry."
        )


def refuse_complex(dtype):
    """Raise ValueError where a dtype is that of complex numbers."""
    if np.dtype(dtype).kind == "c":
        raise ValueError(f"Complex data not supported: the dtype is {dtype}.")


def refuse_target(y, name="y"):
    """Raise where targets, which errors call `name`, are masked or sparse.

    Raises
    ------
    ValueError
        When they have masked entries.
    TypeError
        When they are sparse.
    """
    if np.ma.is_masked(y):
        raise ValueError(
            f"{name} is a masked array with masked entries: leave out the samples whose "
            "target is missing."
        )
    if sp.issparse(y):
        raise TypeError(f"{name} is sparse, but must be dense: pass {name}.toarray().")


def refuse_read_once(X, name="X", instead=""):
    """Raise ValueError where X, which errors call `name`, can be read only once.

    `instead` is what else to do with an iterator.
    """
    if hasattr(X, "__next__") or not getattr(X, "rereadable", True):
        raise ValueError(
            f"{name} is an iterator of blocks, which can be read only once, but is to be "
            "read several times: pass an array, a memmap or a dask array"
            f"{', ' * bool(instead)}{instead}."
        )


def refuse_unordered(y, name="y"):
    """Raise ValueError where classes are missing, or of types that have no order."""
    labels = np.asarray(y)
    if labels.dtype.kind in "mM" and np.isnat(labels).any():
        raise ValueError(f"{name} has NaT: leave out the samples whose class is missing.")
    try:
        np.unique(labels)
    except TypeError:
        types = sorted({type(label).__name__ for label in labels.ravel()})
        raise ValueError(
            f"{name} has labels of type {' and '.join(types)}, which have no order: "
            "classes must be of one type. Leave out samples whose class is missing."
        ) from None


def refuse_containers(X, name="X"):
    """Raise where X, which errors call `name`, holds the data without being an array.

    Raises
    ------
    TypeError
        When it is text, an `AnnData`, or something like it.
    ValueError
        When it is a list of blocks of rows.
    """
    if isinstance(X, str | bytes):
        raise TypeError(f"{name} is of type {type(X).__name__}, but must be an array.")
    if all(hasattr(X, part) for part in ("X", "obs", "var")):
        raise TypeError(
            f"{name} is of type {type(X).__name__}, which holds a matrix and tables about "
            "its rows and columns: pass adata.X, or one of its layers."
        )
    if isinstance(X, list | tuple) and X and all(_is_table(block) for block in X):
        raise ValueError(
            f"{name} is a {type(X).__name__} of {len(X)} two-dimensional block(s). Pass "
            f"iter({name}), which yields them one by one, where an iterator of blocks is "
            "accepted; otherwise stack them into one array."
        )


def refuse_missing(X, name="X"):
    """Raise ValueError where an array, which errors call `name`, has NaN or infinity."""
    if is_plainly_finite(X):
        return
    try:
        assert_all_finite(X, input_name=name)
    except ValueError as error:
        if "NaN" not in str(error):
            raise
        raise NotFiniteError(f"Input {name} contains NaN. {FILL_FIRST}") from None


def is_plainly_finite(X):
    """Whether the sum of an array or a sparse matrix shows that its entries are finite.

    One cheap look, which few finite data fail.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite((X.data if sp.issparse(X) else X).sum()))


def refuse_not_finite(values, name="X"):
    """Raise ValueError where rows or numbers made from them are not finite.

    Parameters
    ----------
    values : ndarray or sparse matrix
        Integers pass.
    name : str
        What errors call the data.
    """
    entries = values.data if sp.issparse(values) else values
    if entries.dtype.kind != "f" or is_plainly_finite(entries):
        return
    if not np.isfinite(entries).all():
        raise NotFiniteError(
            f"Input {name} contains NaN, infinity or a value too large for "
            f"{entries.dtype}. {FILL_FIRST}"
        )


def _is_table(block):
    return getattr(block, "ndim", None) == 2
