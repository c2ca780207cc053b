"""Centring and weights as algebra on the passes: never a copy of the data."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from .._typing import Array, DTypeLike, Indices, SparseMatrix
from . import passes
from .moments import Moments, point_near
from .rows import add_states
from .scaling import in_safe_unit, in_unit_of_largest, is_in_range


class GramProduct(NamedTuple):
    """Products with the Gram matrix.

    Attributes
    ----------
    Z : ndarray of shape (l, n_features)
        ``V A^T A``, in the data's dtype.
    H : ndarray of shape (l, l)
        ``V A^T A V^T``, in float64.
    """

    Z: np.ndarray
    H: np.ndarray


# A block is centred by a copy, not by algebra, when the mean is this many times larger
# than the standard deviation (squared): the total variance, a difference of sums of
# squares, would lose that factor in accuracy.
_EXPLICIT_RATIO = {np.dtype(np.float32): 1e2, np.dtype(np.float64): 1e8}


# Of this many variances the squared mean is small: see `CenteredMatrix.uncopied`.
_NEAR = 4


class CenteredMatrix:
    """The matrix ``A = W^(1/2) (B - 1 mean^T)`` over the rows B, never formed.

    Parameters
    ----------
    rows : RowMatrix
        The rows B, with their weights.
    center : bool, default=True
        Whether to subtract the mean.
    report : callable, default=None
        Called after each pass; returns whether to stop.

    Attributes
    ----------
    n_passes : int
        Passes over the rows made so far.
    stopped : bool
        Whether `report` has asked to stop, after the last of them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.operators import CenteredMatrix, as_row_matrix
    >>> A = np.array([[1.0, 2.0], [3.0, 6.0]])
    >>> matrix = CenteredMatrix(as_row_matrix(A))
    >>> matrix.gram()
    array([[2., 4.],
           [4., 8.]])
    """

    def __init__(
        self, rows: Any, *, center: bool = True, report: Callable[[], bool] | None = None
    ) -> None:
        self.rows: Any = rows
        self.center = center
        self.report = report
        self.n_passes: int = 0
        self.stopped: bool = False
        self._near = None
        self._moments = None
        self._may_change_unit = False
        self._energies = None

    @property
    def shape(self) -> tuple[Any, ...]:
        """Shape of the matrix."""
        return self.rows.shape

    @property
    def dtype(self) -> DTypeLike:
        """Data type of the blocks."""
        return self.rows.dtype

    @property
    def moments(self) -> Moments:
        """Exact moments; a pass of their own when no product has brought them yet.

        About the mean, or about the origin without centring: their squared norm is that
        of the matrix.
        """
        if self._moments is None:
            self.find_moments()
        return self._moments

    def fold(
        self,
        function: Callable[..., Any],
        *args: Any,
        combine: Callable[..., Any] = add_states,
    ) -> Array | SparseMatrix | list[Any]:
        """Fold a function over the blocks of the rows as they are, and count the pass.

        Parameters
        ----------
        function : callable
            See `RowMatrix.fold`.
        *args : object
            Passed on unchanged.
        combine : callable
            See `RowMatrix.fold`.

        Returns
        -------
        object
            The state of all blocks.
        """
        state = self.rows.fold(function, *args, combine=combine)
        self.count_pass()
        return state

    def count_pass(self) -> None:
        """Count a pass, and tell of it."""
        self.n_passes += 1
        self.stopped = self.report is not None and self.report()

    def find_moments(self) -> None:
        """Make the moments known, by a pass that raises where they are not finite."""
        self.set_moments(*self.first(lambda: self.fold(passes.fold_moments, self.shift)))

    @property
    def row_energies(self) -> np.ndarray:
        """Squared norms of the rows, about a point near the mean; found with the moments.

        They tell which rows a sample must not miss: those far above the others are exact,
        the others are known as means.
        """
        if self._energies is None:
            moments, energies = self.first(self._fold_row_energies)
            self.set_moments(moments)
            self._energies = np.concatenate([few.all() for few in energies])
        return self._energies

    def _fold_row_energies(self):
        return self.fold(passes.fold_row_energies, self.shift if self._is_far else None)

    @property
    def unit(self) -> float:
        """What singular values and means are multiplied by to be in that of the data."""
        return 2.0**self.rows.exponent

    def in_safe_unit(self) -> CenteredMatrix:
        """Return the same matrix in a unit in which squares and their squares are in range.

        Returns
        -------
        CenteredMatrix
            Its unit is told from a few rows. If the first pass shows that they were not
            like the others, another one finds the largest entry, and the first is made
            again.
        """
        rows = in_safe_unit(self.rows)
        matrix = CenteredMatrix(rows, center=self.center, report=self.report)
        matrix._may_change_unit = rows.rereadable
        return matrix

    def first(self, fold: Callable[..., Any]) -> list[Any]:
        """Return the state of a fold that brings moments, in a unit that holds them.

        Parameters
        ----------
        fold : callable
            ``fold()`` returns a list, with moments as one of its items.

        Returns
        -------
        list
            The state.
        """
        state = fold()
        moments = next(part for part in reversed(state) if isinstance(part, Moments))
        if not self._may_change_unit or is_in_range(moments.squared_norm, self.dtype):
            return state
        self._may_change_unit = False
        told, self.rows = self.rows, in_unit_of_largest(self.rows)
        self.count_pass()
        if self.rows is told:
            return state
        self.__dict__.pop("shift", None)
        return fold()

    @property
    def _is_far(self):
        """Whether the mean adds more than the spread to the energies of dense rows."""
        if self.shift is None or self.rows.sparse:
            return True
        with np.errstate(invalid="ignore", over="ignore"):
            spread = self.rows.some_rows().var(axis=0, dtype=np.float64).sum()
            return float(np.sum(self.shift.astype(np.float64) ** 2)) > spread

    @cached_property
    def shift(self) -> Array | None:
        """A point near the rows to take them about, see `point_near`.

        None without centring, and for sparse rows that are best taken as they are.
        """
        return point_near(self.rows) if self.center else None

    def set_moments(self, moments: Moments) -> Moments:
        """Take the moments that a pass has summed.

        Parameters
        ----------
        moments : Moments
            About whatever point.

        Returns
        -------
        Moments
            About the mean, or about the origin without centring.

        Raises
        ------
        ValueError
            When they show that the data are not finite.
        """
        passes.check_finite(moments.squared_norm, self.dtype)
        found = moments.about_mean() if self.center else moments.about()
        self._moments = found.without_products()
        return found

    def center_by(self, moments: Moments) -> tuple[Array | None, Array]:
        """Return what to take from the blocks, and what is then left of the mean.

        Parameters
        ----------
        moments : Moments
            Of these rows, or of rows like them.

        Returns
        -------
        shift : ndarray of shape (n_features,) or None
            In the data's dtype. None where taking the mean from products with the rows
            is as accurate.
        rest : ndarray of shape (n_features,)
            In float64; zeros without centring.
        """
        if not self.center:
            return None, np.zeros(self.shape[1])
        mean = moments.mean
        shift = self.shift if self.rows.sparse else None
        if not self.rows.sparse:
            far = _EXPLICIT_RATIO[self.dtype] * moments.squared_norm
            if moments.total_weight * float(mean @ mean) > far:
                shift = mean.astype(self.dtype)
        return shift, mean if shift is None else mean - shift

    def gram_product(self, V: Array) -> GramProduct:
        """Return ``V A^T A`` and ``V A^T A V^T`` in one pass.

        Parameters
        ----------
        V : ndarray of shape (l, n_features)
            Vectors, as rows.

        Returns
        -------
        GramProduct
            ``(Z, H)``.

        Notes
        -----
        4 n_rows n_features l flops. With a point c near the rows, their exact mean mu
        and d = mu - c, the product about c is corrected by
        ``Z - (V d) s^T - t mu^T``, where s and t sum the rows of B and of its
        projection. The projection is centred before the second product, so rounding is
        relative to it and not to the mean.
        """
        V = np.ascontiguousarray(V, dtype=self.dtype)
        if self._moments is None and self._near is None:
            self.find_moments()
        first = self._moments is None
        shift, rest = self.center_by(self._near if first else self._moments)
        rest = rest.astype(self.dtype)
        Z, H, t, *moments = self.fold(
            passes.fold_gram_product, self.layout(V), V @ rest, shift, first
        )
        if self.rows.sparse:
            Z = np.ascontiguousarray(Z.T)
        if first:
            self.set_moments(*moments)
        if not self.center:
            return GramProduct(Z, H)
        total, mean = self._moments.total_weight, self._moments.mean
        # Of the rows as they were multiplied.
        mean = mean if shift is None else mean - shift
        Vd = (V @ (mean - rest).astype(self.dtype)).astype(np.float64)
        t = t - total * Vd
        H = H - total * np.outer(Vd, Vd) - np.outer(Vd, t) - np.outer(t, Vd)
        left, right = np.stack([Vd, t], axis=1), np.stack([total * mean, mean])
        Z -= left.astype(self.dtype) @ right.astype(self.dtype)
        return GramProduct(Z, H)

    def projected_gram(self, V: Array) -> np.ndarray:
        """Return the projected Gram matrix alone, in one pass of half the flops.

        Parameters
        ----------
        V : ndarray of shape (l, n_features)
            Rows to project on.

        Returns
        -------
        ndarray of shape (l, l)
            ``V A^T A V^T``, in float64.
        """
        V = np.ascontiguousarray(V, dtype=self.dtype)
        shift, rest = self.center_by(self.moments)
        offset = V @ rest.astype(self.dtype)
        return self.fold(passes.fold_projected_gram, self.layout(V), offset, shift)[0]

    def layout(self, V: Array) -> Array:
        """Return vectors as passes take them.

        Parameters
        ----------
        V : ndarray of shape (l, n_features)
            Vectors, as rows.

        Returns
        -------
        ndarray
            For sparse rows ``V.T``, in C order.
        """
        return np.ascontiguousarray(V.T) if self.rows.sparse else V

    def gram(self) -> np.ndarray:
        """Return the Gram matrix ``A^T A`` in one pass.

        Returns
        -------
        ndarray of shape (n_features, n_features)
            Summed over blocks in float64; n_rows n_features^2 flops.
        """
        (moments,) = self.uncopied(lambda shift: self.fold(passes.fold_gram, shift))
        return self.set_moments(moments).squares

    @np.errstate(invalid="ignore", over="ignore")
    def uncopied(self, fold: Callable[..., Any]) -> list[Any]:
        """Return the state of a fold that brings squares, about the origin if that is near.

        To take dense rows about another point costs a copy of them, a tenth of the time of
        a Gram matrix or more. Next to the origin, so that the mean adds at most `_NEAR`
        times the variance to the squares, those about it lose less than a digit.

        Parameters
        ----------
        fold : callable
            ``fold(shift)`` returns a list that ends with moments, with their squares.

        Returns
        -------
        list
            The state.
        """
        if self.center and not self.rows.sparse and self._seems_near():
            state = self.first(lambda: fold(None))
            moments = state[-1]
            squares = moments.squares
            squares = squares.diagonal() if np.ndim(squares) else squares
            means = moments.sums * moments.offset
            means = means if np.ndim(squares) else means.sum()
            # A few rows can be unlike the others, so they are not trusted.
            # That they are more than so many variances, without a difference of infinities.
            if not np.any((1 + _NEAR) * means > _NEAR * squares):
                return state
        return self.first(lambda: fold(self.shift))

    def _seems_near(self):
        """Whether all columns of a few dense rows have a mean near zero."""
        values = self.rows.some_rows()
        with np.errstate(invalid="ignore", over="ignore"):
            mean = values.mean(axis=0, dtype=np.float64)
            spread = np.square(values, dtype=np.float64).mean(axis=0) - mean**2
            return bool(np.all(mean**2 <= _NEAR * spread))

    def triangular_factor(self, V: Array | None = None) -> np.ndarray:
        """Return R of ``A V^T = Q R`` in one pass.

        Parameters
        ----------
        V : ndarray of shape (l, n_features), default=None
            Vectors, as rows; None gives the factor of A itself.

        Returns
        -------
        ndarray of shape (min(n_rows, l), l)
            Upper triangular, float64.

        Notes
        -----
        Its singular values are those of ``A V^T`` to eps times the largest, where those
        from the Gram matrix are accurate to sqrt(eps) only.
        """
        shift, offset, layout = *self.center_by(self.moments), None
        if V is not None:
            V = np.ascontiguousarray(V, dtype=self.dtype)
            offset = V.astype(np.float64) @ offset
            layout = self.layout(V)
        return self.fold(passes.fold_qr, layout, offset, shift, combine=passes.stack_qr)

    def sketch(self, S: Any) -> np.ndarray:
        """Return ``S A``, in one pass that brings the moments too.

        Parameters
        ----------
        S : Sketch
            Of n_rows columns.

        Returns
        -------
        ndarray of shape (S.shape[0], n_features)
            The sketch of the centred, weighted rows.
        """
        SB, S1, moments = self.first(lambda: self.fold(passes.fold_sketch, S, self.shift))
        self.set_moments(moments)
        return SB - (S1 * moments.offset).astype(self.dtype) if self.center else SB

    def project(self, V: Array) -> Any:
        """Return ``(B - 1 mean^T) V^T``, in one pass.

        Parameters
        ----------
        V : ndarray of shape (l, n_features)
            Vectors, as rows.

        Returns
        -------
        ndarray of shape (n_rows, l)
            In the precision of V. Rows are not weighted; a lazy array where the source is
            lazy.
        """
        Vt = np.ascontiguousarray(V.T)
        shift, rest = self.center_by(self.moments)
        offset = (rest @ V.T.astype(np.float64)).astype(V.dtype)
        self.count_pass()
        rows = self.rows.with_dtype(V.dtype)
        return rows.map(passes.project, Vt, offset, shift, n_columns=len(V))

    def dense(self) -> np.ndarray:
        """Return the matrix itself, for small ones in memory.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
            A dense copy, centred and weighted.
        """
        mean = self.moments.mean if self.center else np.zeros(self.shape[1])
        B = self.rows.values(slice(0, self.shape[0]))
        B = (B if isinstance(B, np.ndarray) else B.toarray()) - mean
        self.count_pass()
        weight = self.rows.weight
        return B if weight is None else B * np.sqrt(weight)[:, np.newaxis]

    def take(self, indices: Indices, factors: Array | None = None) -> CenteredMatrix:
        """Return some of the rows.

        Parameters
        ----------
        indices : ndarray of int
            Distinct.
        factors : ndarray of float, default=None
            What their weights are multiplied by.

        Returns
        -------
        CenteredMatrix
            Centred about the mean of all rows, if it is known, else about their own.
        """
        order = np.argsort(indices, kind="stable")
        rows = self.rows.take(indices[order])
        if factors is not None:
            weight = factors[order] * (1 if rows.weight is None else rows.weight)
            rows = rows.with_weight(weight.astype(self.dtype))
        sample = CenteredMatrix(rows, center=self.center)
        if self._moments is not None:
            weight = float(len(order) if rows.weight is None else rows.weight.sum())
            sample._moments = self._moments.for_weight(weight)
        return sample

    def in_double(self) -> CenteredMatrix:
        """Return the same matrix in double precision.

        Returns
        -------
        CenteredMatrix
            Its blocks are converted as they are read.
        """
        rows = self.rows.with_dtype(np.float64)
        return CenteredMatrix(rows, center=self.center, report=self.report)

    def near(self, moments: Moments) -> None:
        """Provide a sample's moments, so that the first product brings the exact ones.

        Parameters
        ----------
        moments : Moments
            Close to those of all the rows.
        """
        if self._moments is None:
            self._near = moments
