"""Singular vectors whose values are lost in the rounding of the first ones' squares."""

import numpy as np

from ...operators.moments import shift_rows
from ...operators.passes import row_energies
from ...operators.rows import add_states
from ..dense.orth import complete_rows, extend_rows, orthonormal_rows
from ..dense.ritz import RitzBasis, krylov_steps
from .gram import RightSVD, refine_values, storage_excess

# Norms within this many eps of that of the matrix are rounding.
_ROUNDING = 8

# Squared norms that leave less than this share have cancelled.
_CANCELLED = 1e-10

# Entries of sparse rows that are made dense at a time.
_DENSE_ENTRIES = 2**20

# Passes to polish what is above rounding, at most.
_MOST_STEPS = 5


def deflated_svd(A, locked, k, width, *, tol, max_passes, rng):
    """Find leading right singular vectors where the first are known and hide the others.

    Parameters
    ----------
    A : CenteredMatrix
    locked : ndarray of shape (d, n_features)
        Orthonormal rows that span what is far above rounding.
    k : int
        Number of singular vectors wanted.
    width : int
        Vectors iterated, at least k.
    tol : float
        What more passes may be expected to add, as a share of the last square wanted.
    max_passes : int
        Most passes to make.
    rng : Generator

    Returns
    -------
    RightSVD
        Of k triplets or more, as far as they are above rounding.

    Notes
    -----
    Block Krylov iteration in float64 on ``A (I - V^T V)``, where V are the rows of
    `locked`: of a block W orthogonal to V, ``A W^T`` is accurate to eps times the norm of
    A, and its square to the square of that, where ``A^T A`` has lost the root. At the end,
    the QR factor of A on both together gives values and vectors. What is left is bounded
    as in the worst case, where gains fall as the square of the passes (Musco & Musco 2015).
    """
    double = A.in_double()
    V, rest = _polished(double, orthonormal_rows(locked.astype(np.float64)), tol)
    total = double.moments.squared_norm
    # What is rounding in double precision.
    least = (_ROUNDING * np.finfo(np.float64).eps) ** 2 * total
    lacking, tail = 0.0, rest
    if rest > least and len(V) < A.shape[1]:
        found, lacking = _iterate(double, V, k, width, tol, max_passes, rng)
        V = np.concatenate([V, found.vectors])
        tail = max(0.0, rest - float(found.values.sum()))
    s, V = refine_values(double, V) if len(V) else (np.zeros(0), V)
    A.n_passes += double.n_passes
    tail += float(np.sum(s[k:] ** 2))
    excess = lacking / (2 * tail) if tail > least else 0.0
    converged = excess <= tol
    # Of a matrix that is captured but for rounding, rounding is all that can be seen.
    tail = tail if tail > least else 0.0
    excess = max(excess, storage_excess(s[:k], tail, A.dtype))
    s = s[: max(k, width)]
    V = V[: len(s)].astype(A.dtype)
    return RightSVD(s, V, error_estimate=excess, converged=bool(converged))


def _polished(A, V, tol):
    """Return rows whose span has converged, and the squared norm of what they leave.

    What the rows above rounding lack of the leading ones would hide the others. Subspace
    iteration, which here falls fast, until what is left falls no more.
    """
    rest = residual_energy(A, V)
    for _ in range(_MOST_STEPS * (len(V) > 0)):
        V = orthonormal_rows(A.gram_product(V).Z)
        before, rest = rest, residual_energy(A, V)
        if rest >= (1 - tol) * before:
            break
    return V, rest


def _iterate(A, locked, k, width, tol, max_passes, rng):
    """Return Ritz pairs outside of `locked`, and an estimate of what they lack."""
    width = min(width, A.shape[1] - len(locked))
    start = complete_rows(locked, len(locked) + width, rng)[len(locked) :]
    captured = 0.0
    basis = RitzBasis(width, np.float64)
    for n_passes, step in enumerate(krylov_steps(basis, start, A.gram_product), 1):
        gained = float(step.ritz.values[:k].sum()) - captured
        captured += gained
        lacking = max(0.0, gained) * n_passes / 2
        step.block = extend_rows(np.concatenate([locked, basis.vectors]), step.residuals)
        if len(locked) + len(basis.H) == A.shape[1]:
            return step.ritz, 0.0
        last = float(step.ritz.values[min(k, width) - 1])
        least = max(tol * last, _ROUNDING * np.finfo(np.float64).eps * captured)
        if lacking <= least or n_passes == max_passes:
            break
    return step.ritz, lacking


def residual_energy(A, V) -> float:
    """Return ``||A - A V^T V||_F^2``, in one pass.

    Of dense rows, from the residuals; of sparse ones, whose residuals are dense, from the
    squared norms, as long as those do not cancel.
    """
    shift, offset = A.center_by(A.moments)
    return A.fold(fold_residual_energy, V, A.layout(V), offset, shift)[0]


def fold_residual_energy(state, block, V, layout, offset, shift):
    """Weighted squared norm of ``(B - shift - offset)(I - V^T V)``."""
    values = shift_rows(block.values, shift)
    if isinstance(values, np.ndarray):
        energies = _residual_energies(values - offset, V)
    else:
        wholes = row_energies(values) - 2 * (values @ offset) + offset @ offset
        Y = values @ layout - V @ offset
        energies = wholes - np.einsum("ij,ij->i", Y, Y)
        lost = np.flatnonzero(energies <= _CANCELLED * wholes)
        for part in np.array_split(lost, max(1, lost.size * V.shape[1] // _DENSE_ENTRIES)):
            energies[part] = _residual_energies(values[part].toarray() - offset, V)
    if block.weight is not None:
        energies *= block.weight
    return add_states(state, [float(energies.sum())])


def _residual_energies(rows, V):
    rows -= (rows @ V.T) @ V
    return np.einsum("ij,ij->i", rows, rows)
