"""Identifiers of rows and columns: exact in any type, and each column by itself."""

import datetime
import re
from functools import cached_property
from numbers import Number

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import check_array

from ._refusals import refuse_complex, refuse_containers, refuse_masked
from ._sklearn import validate_data

# Types of what stands for a missing value, beside floats that are not a number. They are
# told by their names, as pandas need not be installed.
_MISSING = {"NoneType", "NAType", "NaTType", "MaskedConstant"}

# Attoseconds, the shortest unit of numpy's dates, in each of its units.
_ATTOSECONDS = {
    "W": 7 * 86400 * 10**18,
    "D": 86400 * 10**18,
    "h": 3600 * 10**18,
    "m": 60 * 10**18,
    **{unit: 10 ** (18 - 3 * i) for i, unit in enumerate(["s", "ms", "us", "ns", "ps"])},
    "fs": 1000,
    "as": 1,
}

# Kinds of identifiers. The first that fits counts: numpy's durations are integers, too.
_TYPES = {
    "boolean": (bool, np.bool_),
    "duration": (np.timedelta64, datetime.timedelta),
    "number": (Number,),
    "string": (str,),
    "bytes": (bytes,),
    "date": (np.datetime64, datetime.date),
}
_KIND_OF_DTYPE = {
    **dict.fromkeys("iuf", "number"),
    "b": "boolean",
    "m": "duration",
    "M": "date",
    "S": "bytes",
    "U": "string",
}
# Types of polars and of pyarrow that become the same in numpy, if nothing is missing.
_NUMPY_HAS = re.compile(r"(u?int|float)(8|16|32|64)$|datetime|duration", re.IGNORECASE)
# Types of objects that fit into an array of numbers.
_PLAIN = ({int}, {float}, {bool})


class Identifiers:
    """The distinct identifiers of a column, and the place of each.

    Two are the same where Python says that they are equal, so that integers of any size,
    in any type of integers, are told apart; but a number is never the same as a string, a
    boolean or a date.

    Parameters
    ----------
    distinct : ndarray of shape (n,)
        Sorted.

    Attributes
    ----------
    distinct : ndarray of shape (n,)
    """

    def __init__(self, distinct):
        self.distinct = distinct

    def __getstate__(self):
        return {"distinct": self.distinct}

    def __len__(self):
        return len(self.distinct)

    @classmethod
    def encode(cls, column, name):
        """Return the identifiers in a column, and the place of each of its entries.

        Parameters
        ----------
        column : array-like of shape (n_samples,)
        name : str
            What errors call it.

        Returns
        -------
        identifiers : Identifiers
        places : ndarray of int of shape (n_samples,)

        Raises
        ------
        ValueError
            When some are missing or infinite.
        TypeError
            When some cannot be compared with others.
        """
        values = _plain(column, name)
        if values.dtype.kind in "iu":
            return _count(values)
        if values.dtype.kind in "bfMmSU":
            distinct, places = np.unique(values, return_inverse=True)
            return cls(distinct), places
        keys = _keys(values, _kind(values, name))
        try:
            # Of equal ones, the first that comes.
            first = dict(zip(reversed(keys), reversed(values.tolist()), strict=True))
            ordered = sorted(first)
        except TypeError as error:
            raise TypeError(
                f"{name} has identifiers that cannot be compared: {error}."
            ) from None
        places = {key: place for place, key in enumerate(ordered)}
        places = np.fromiter((places[key] for key in keys), np.intp, len(keys))
        return cls(_compact([first[key] for key in ordered])), places

    def places(self, column, name):
        """Return the place of each entry of a column, or the number of places if it is new.

        Parameters
        ----------
        column : array-like of shape (n_samples,)
        name : str
            What errors call it.

        Returns
        -------
        ndarray of int of shape (n_samples,)

        Raises
        ------
        ValueError, TypeError
            As for `encode`; ValueError when they are of another kind.
        """
        values, n = _plain(column, name), len(self)
        if not len(values):
            return np.zeros(0, np.intp)
        kind, known = _kind(values, name), _kind(self.distinct, name)
        if kind != known:
            raise ValueError(
                f"{name} has identifiers of the kind {kind!r}, of dtype {values.dtype}. In "
                f"fit they were of the kind {known!r}, of dtype {self.distinct.dtype}: "
                "give the same type."
            )
        ours, theirs = self.distinct.dtype, values.dtype
        if ours.kind != "O" and (ours == theirs or ours.kind == theirs.kind in "SU"):
            places = np.minimum(np.searchsorted(self.distinct, values), n - 1)
            return np.where(self.distinct[places] == values, places, n)
        found = (self._place_of.get(key, n) for key in _keys(values, kind))
        return np.fromiter(found, np.intp, len(values))

    @cached_property
    def _place_of(self):
        keys = _keys(self.distinct, _kind(self.distinct, "X"))
        return {key: place for place, key in enumerate(keys)}


def columns_of(estimator, X, *, reset):
    """Return the columns of a table one by one, with a name for each.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` and ``feature_names_in_`` are set or checked.
    X : array-like or data frame of shape (n_samples, n_features)
        The columns of a data frame are not given a common type, nor are the entries of a
        list.
    reset : bool
        Whether to set the features or to check them.

    Returns
    -------
    list of (array-like of shape (n_samples,), str)

    Raises
    ------
    ValueError, TypeError
        Those of `sklearn.utils.validation.validate_data`.
    """
    refuse_masked(X)
    refuse_containers(X)
    if isinstance(X, list | tuple) and not any(map(sp.issparse, X)):
        X = np.array(X, dtype=object)
    X = X.compute() if hasattr(X, "compute") else X
    if not hasattr(X, "columns"):
        X = validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False)
        return [(X[:, j], f"Column {j} of X") for j in range(X.shape[1])]
    # What matters of the table but for its entries: names, and shape.
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    check_array(np.zeros(X.shape, np.int8))
    if hasattr(X, "iloc"):
        columns = [X.iloc[:, j] for j in range(X.shape[1])]
    else:
        # Of polars, or of pyarrow.
        columns = X.get_columns() if hasattr(X, "get_columns") else X.columns
    names = getattr(X, "column_names", X.columns)
    return [
        (column, f"Column {name!r} of X")
        for column, name in zip(columns, names, strict=True)
    ]


def _count(values):
    """Return the identifiers among integers, and places."""
    low, high = int(values.min()), int(values.max())
    if high - low < 4 * len(values) + 1000 and high < 2**62:
        # Counting is faster than sorting.
        numbers = values.astype(np.int64) - low
        present = np.zeros(high - low + 1, dtype=bool)
        present[numbers] = True
        places = np.cumsum(present) - 1
        distinct = (np.flatnonzero(present) + low).astype(values.dtype)
        return Identifiers(distinct), places[numbers]
    distinct, places = np.unique(values, return_inverse=True)
    return Identifiers(distinct), places


def _plain(column, name):
    """Return a column as an ndarray in which nothing is missing, without loss."""
    missing = column.isna().any() if hasattr(column, "isna") else 0
    # A method of polars, an attribute of pyarrow.
    nulls = getattr(column, "null_count", missing)
    if nulls() if callable(nulls) else nulls:
        _refuse_missing(name)
    to_list = getattr(column, "to_pylist", None) or getattr(column, "to_list", None)
    if to_list and not hasattr(column, "iloc") and not _NUMPY_HAS.match(_dtype(column)):
        values = np.fromiter(to_list(), object, len(column))
    elif hasattr(column, "to_numpy"):
        values = column.to_numpy()
    else:
        # A list of a number and a string would become one of strings.
        values = np.asarray(column, object if isinstance(column, list | tuple) else None)
    return _checked(values, name)


def _dtype(column):
    return str(column.dtype if hasattr(column, "dtype") else column.type)


def _checked(values, name):
    """Return identifiers; raise where some are missing, infinite, or complex."""
    kind = values.dtype.kind
    refuse_complex(values.dtype)
    if kind == "O":
        types = set(map(type, values))
        if any(one.__name__ in _MISSING for one in types) or any(
            each != each for each in values if not isinstance(each, str)
        ):
            _refuse_missing(name)
        values = _compact(values.tolist()) if types in _PLAIN else values
    elif kind not in "biufMmSU":
        raise ValueError(f"{name} is of dtype {values.dtype}, which identifies nothing.")
    if values.dtype.kind in "fMm" and (values != values).any():
        _refuse_missing(name)
    if values.dtype.kind == "f" and np.isinf(values).any():
        raise ValueError(f"{name} contains identifiers that are infinity.")
    return values


def _refuse_missing(name):
    raise ValueError(
        f"{name} contains identifiers that are missing (None, NaN, NA or NaT): leave out "
        "these samples."
    )


def _kind(values, name):
    """Return what identifiers are; raise where they are of several kinds."""
    if values.dtype.kind != "O":
        return _KIND_OF_DTYPE[values.dtype.kind]
    kinds = {_kind_of_type(one) for one in set(map(type, values))}
    if kinds == {"date"}:
        zoned = {getattr(each, "tzinfo", None) is not None for each in values}
        kinds = {"date with a time zone" if each else "date" for each in zoned}
    if len(kinds) > 1:
        raise TypeError(
            f"{name} has identifiers that cannot be compared, of the kinds "
            f"{', '.join(sorted(map(repr, kinds)))}: a column of this argument must be of "
            "either strings or numbers, or else of one other type."
        )
    return kinds.pop()


def _kind_of_type(one):
    for kind, types in _TYPES.items():
        if issubclass(one, types):
            return kind
    return one.__name__


def _keys(values, kind):
    """Return what is equal where identifiers of a kind are, as a list."""
    if "date" not in kind and kind != "duration":
        return values.tolist()
    if values.dtype.kind in "Mm":
        unit, step = np.datetime_data(values.dtype)
        if unit in "YM" and values.dtype.kind == "M":
            values, unit, step = values.astype("M8[D]"), "D", 1
        # A year of a duration has no length: it is only equal to other years.
        size = step * _ATTOSECONDS.get(unit, 1)
        return [size * count for count in values.astype(np.int64).tolist()]
    return [_keys(np.array([_as_numpy(each)]), kind)[0] for each in values]


def _as_numpy(when):
    """Return a date or a duration as a scalar of numpy, in UTC if it has a time zone."""
    for convert in ("to_datetime64", "to_timedelta64"):
        if hasattr(when, convert):
            return getattr(when, convert)()
    if getattr(when, "tzinfo", None) is not None:
        when = when.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(when, datetime.timedelta):
        return np.timedelta64(when)
    return np.datetime64(when)


def _compact(values):
    """Return a list as an array of numbers or strings if that is exact, or of objects."""
    types = set(map(type, values))
    if types in (*_PLAIN, {str}):
        array = np.array(values)
        if (array.dtype.kind != "f" or float in types) and array.tolist() == values:
            return array
    return np.fromiter(values, object, len(values))
