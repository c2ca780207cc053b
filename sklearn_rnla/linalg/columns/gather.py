"""What chosen columns span of the data, and how far that is from all of it."""

from typing import Any, NamedTuple

import numpy as np

from ..._typing import Array, Indices, SparseMatrix
from ...operators import Block, CenteredMatrix, passes
from ...operators.rows import add_states
from ...operators.stacking import stack_rows
from ..dense.pivoting import pivot_columns, unit_columns
from ..dense.triangular import inverse_cholesky, triangular_inverse
from .select import about_origin, select_columns

# Errors below this many square roots of rounding are lost in a difference of squares.
_FLOOR = 10.0

# By how much an estimate is to be below a tolerance: what the error was found to be above
# it, more is taken.
_MARGINS = (0.05, 0.2, 0.5)


class Gathered(NamedTuple):
    """Columns C of A, and what they span of it.

    Attributes
    ----------
    indices : ndarray of shape (k,)
    C : ndarray, csr_array, dask array or None
        None where it was not asked for.
    basis : ndarray of shape (k, k)
        Upper triangular; ``Q = C basis`` is orthonormal.
    captured : ndarray of shape (k, n_columns)
        ``Q^T A``, in float64.
    norm : float
        Frobenius norm of A.
    errors : ndarray of shape (k + 1,)
        ``||A - C C^+ A||_F / ||A||_F`` with the first 0, 1, ... columns.
    """

    indices: np.ndarray
    C: object
    basis: np.ndarray
    captured: np.ndarray
    norm: float
    errors: np.ndarray

    def interpolation(self, k: int) -> np.ndarray:
        """Return ``C^+ A`` for the first `k` columns C."""
        W = self.basis[:k, :k] @ self.captured[:k]
        W[:, self.indices[:k]] = np.eye(k)
        return W


def gather_columns(
    A: CenteredMatrix,
    k: int | None,
    *,
    tol: float = 0.0,
    n_rows: int = 0,
    keep: bool = False,
    **options: Any,
) -> tuple[Gathered, int]:
    """Choose columns of `A` and return what they span of it, in two passes.

    Parameters
    ----------
    A : CenteredMatrix
        If it is centred, columns are chosen by the rows about their mean. What they span
        is of the rows as they are.
    k : int or None
        How many; None is the fewest whose error is at most `tol`.
    tol : float, default=0.0
        Relative error.
    n_rows : int, default=0
        Rows that are to be chosen too.
    keep : bool, default=False
        Whether to gather C.
    **options
        Further arguments of `select_columns`.

    Returns
    -------
    gathered : Gathered
        Of the columns, and of more where there are more rows, or where the tolerance
        needed fewer than estimated.
    c : int
        Columns chosen: the first so many.
    """
    for margin in _MARGINS:
        root, pivots = select_columns(
            A, k, tol=tol, n_rows=n_rows, margin=margin, **options
        )
        c = len(pivots.indices)
        if n_rows > c or A.center:
            root = about_origin(A, root)
            # Constant columns, which are nothing about their mean, come last.
            c = k if A.center and k is not None else c
            pivots = pivot_columns(
                root.B, max(n_rows, c), first=pivots.indices, rounding=root.rounding
            )
            c = min(c, len(pivots.indices))
        gathered = _gather(A, root, pivots, keep)
        if k is not None:
            break
        enough = np.flatnonzero(gathered.errors <= tol)
        if len(enough) or root.sketch is None:
            c = int(enough[0]) if len(enough) else c
            break
    return gathered, c


def _gather(A, root, pivots, keep):
    """Return what pivots span of A, in one pass.

    Least squares by sketch and precondition: with ``B[:, J] = P T`` the QR factorisation
    of the sketch's columns, ``A[:, J] T^-1`` is so well conditioned that its normal
    equations lose nothing. As T is triangular, they give the error of the first 1, 2, ...
    columns too. 2 k flops for each entry of A.
    """
    indices, k = pivots.indices, len(pivots.indices)
    columns, norms = unit_columns(root.B[:, indices])
    T = np.linalg.qr(columns, mode="r")[:k]
    inverse = triangular_inverse(T.T).T / norms[:, np.newaxis]
    gather = keep and not A.rows.lazy
    H, Z, squares, blocks = A.fold(fold_interpolation, indices, inverse, gather)
    passes.check_finite(squares, A.dtype)
    whiten = inverse_cholesky(H)
    captured, basis = whiten @ Z, inverse @ whiten.T
    norm = float(np.sqrt(squares))
    gained = np.cumsum([0.0, *np.einsum("ij,ij->i", captured, captured)])
    errors = np.sqrt(np.maximum(1 - gained / squares, 0.0)) if squares else gained
    lost = errors < _FLOOR * np.sqrt(np.finfo(A.dtype).eps)
    errors[lost] = np.minimum(errors, root.estimates(pivots))[lost]
    C = None
    if gather:
        C = stack_rows(blocks)
    elif keep:
        C = A.rows.map(passes.take_columns, indices, n_columns=k)
    return Gathered(indices, C, basis, captured, norm, errors)


def fold_interpolation(
    state: Any, block: Block, indices: Indices, inverse: Array, keep: bool
) -> SparseMatrix | list[Any]:
    """Fold the normal equations for A in the columns ``Q = A[:, indices] inverse``.

    State: ``[Q^T Q, Q^T A, squared norm of A, blocks of A[:, indices]]``, the last empty
    unless `keep`.
    """
    values = block.values
    is_dense = isinstance(values, np.ndarray)
    columns = values[:, indices]
    Q = (columns if is_dense else columns.toarray()).astype(np.float64) @ inverse
    Qt = np.ascontiguousarray(Q.T, dtype=values.dtype)
    part = [
        Q.T @ Q,
        (Qt @ values if is_dense else (values.T @ Qt.T).T).astype(np.float64),
        passes.squared_norm(values if is_dense else values.data),
        [columns] if keep else [],
    ]
    return add_states(state, part)
