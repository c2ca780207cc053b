"""Landmarks for a regression: forward selection by the response, among random rows."""

from typing import Any

import numpy as np

from ..._typing import Array, Indices
from ...operators.feature_map import add_gram
from ...operators.threads import consecutive
from ..dense.ritz import descending_eigh
from .landmarks import inverse_root

# With more landmarks, or fewer rows for each of them, it no longer matters which they are:
# ``python -m benchmarks landmarks`` has the grid.
_MOST_SUPERVISED, _ROWS_PER_LANDMARK = 1000, 4

# Candidates for each landmark, for one penalty and where one is chosen, and at least so
# many. Their Gram matrix, on half of the rows, takes half as many multiply-adds as the
# regression, which is about four times as long where a penalty is chosen.
_CANDIDATES, _CANDIDATES_CHOOSING, _FEWEST_CANDIDATES = 1.5, 3.0, 256

# The response is looked at on half of the rows: of all, landmarks would be chosen by noise
# that the regression then takes for signal. So many for each landmark are enough, and so
# many cost nothing.
_ROWS, _FEW_ROWS = 8, 1024

# Rows whose kernel values are in memory at a time.
_ROWS_AT_ONCE = 2048

# Candidates are eliminated so many at a time.
_BLOCK = 64

# Candidates that a penalty is estimated on.
_PENALTY_CANDIDATES = 100

# What is left of a candidate's squared norm is rounding up to this share of it.
_DEPENDENT = 1e-9


def gains_by_response(n: int, k: int) -> bool:
    """Whether k of n rows are better landmarks where they are chosen by the response."""
    return k <= _MOST_SUPERVISED and n >= _ROWS_PER_LANDMARK * k


def supervised_landmarks(
    rows: Any, kernel: Any, k: int, Y: Array, alphas: Array, rng: np.random.Generator
) -> Indices:
    """Choose the rows at which the kernel predicts the response best.

    Orthogonal least squares (Chen, Cowan & Grant 1991): of random candidates, that one is
    taken next which decreases the penalised squares of a kernel ridge regression most.
    Deviations: the squares are those of a sample of the rows, about their mean, and
    candidates are eliminated in blocks.

    Parameters
    ----------
    rows : RowMatrix
        With their weights.
    kernel : KernelSource
        A positive semidefinite one.
    k : int
        Number of landmarks, fewer than rows.
    Y : ndarray of shape (n_rows, n_targets)
        In float64.
    alphas : ndarray
        Penalties; of several, one is chosen here by generalised cross-validation.
    rng : Generator
        Draws the sample.

    Returns
    -------
    ndarray of int of shape (k,)
        In the order of the selection; fewer where fewer rows have weight.

    Notes
    -----
    At most ``9 k^3`` multiply-adds for the Gram matrix of the candidates, four times as
    many to choose a penalty, and ``k^3`` to ``4 k^3`` for the selection, however many rows
    there are.
    """
    n = rows.shape[0]
    with_weight = n if rows.weight is None else np.flatnonzero(rows.weight)
    drawn = rng.permutation(with_weight)
    size = max(k, min(len(drawn) // 2, max(_ROWS * k, _FEW_ROWS)))
    sample = np.sort(drawn[:size])
    alphas = np.unique(alphas)
    per_landmark = _CANDIDATES_CHOOSING if len(alphas) > 1 else _CANDIDATES
    pool = drawn[: min(size, max(int(per_landmark * k), _FEWEST_CANDIDATES))]
    taken = rows.take(sample)
    X, weight = taken.in_memory(), taken.weight
    points = X[np.searchsorted(sample, pool)]
    G, C, squares, total = _normal_equations(X, weight, kernel.at(points), Y[sample])
    K = kernel(points, points)
    all_rows = n if rows.weight is None else rows.weight.sum(dtype=np.float64)
    alphas = alphas * (total / all_rows)
    alpha = alphas[0]
    if len(alphas) > 1:
        alpha = _least_gcv_alpha(G, C, K, squares, len(sample), alphas)
    G += alpha * K
    return pool[_forward_selection(G, C, min(k, len(pool)))]


def _normal_equations(X, weight, columns, Y):
    """Return the normal equations of kernel columns on some rows, about their mean.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_rows, n_features)
    weight : ndarray of shape (n_rows,) or None
    columns : callable
        ``Kernel.at(points)``.
    Y : ndarray of shape (n_rows, n_targets)

    Returns
    -------
    G : ndarray of shape (n_candidates, n_candidates)
    C : ndarray of shape (n_candidates, n_targets)
    squares : float
        Sum of the squares of the targets.
    total : float
        Weight of the rows.
    """
    largest = np.abs(Y).max(initial=0.0)
    # The largest target is the unit, in which squares neither overflow nor vanish.
    T = Y / (largest if largest > 0 else 1.0)
    T = np.column_stack([T - np.average(T, axis=0, weights=weight), np.ones(len(T))])
    state = None
    for part in consecutive(len(Y), _ROWS_AT_ONCE):
        values = columns(X[part], np.float64)
        of_part = None if weight is None else weight[part]
        state = add_gram(state, values, T[part], of_part)
    G, C, squares = state
    sums, total = C[:, -1], float(squares[-1])
    G -= np.outer(sums / total, sums)
    return G, C[:, :-1], float(squares[:-1].sum()), total


def _least_gcv_alpha(G, C, K, squares, n_rows, alphas):
    """Return the penalty of least generalised cross-validation on a few candidates."""
    some = slice(_PENALTY_CANDIDATES)
    root = inverse_root(K[some, some], np.finfo(np.float64).eps)
    kept, W = root.kept, root.W
    values, Ut = descending_eigh(W @ G[np.ix_(kept, kept)] @ W.T)
    values = np.maximum(values, 0.0)[:, np.newaxis]
    energies = np.square(Ut @ (W @ C[kept])).sum(axis=1, keepdims=True)
    total = np.maximum(values + alphas, np.finfo(np.float64).tiny)
    left = squares - np.sum(energies * (total + alphas) / total**2, axis=0)
    freedom = 1 - (1 + np.sum(values / total, axis=0)) / n_rows
    known = freedom > 0
    scores = np.where(known, left / np.where(known, freedom, 1.0) ** 2, np.inf)
    return alphas[int(np.argmin(scores))]


def _forward_selection(G, C, k):
    """Return k columns, each the one that decreases the squares most after the others.

    Parameters
    ----------
    G : ndarray of shape (n, n)
        Gram matrix of the columns.
    C : ndarray of shape (n, n_targets)
        Their products with the targets.
    k : int

    Returns
    -------
    ndarray of shape (k,)
    """
    n, d, left = len(G), np.diagonal(G).copy(), np.arange(len(G))
    floor, chosen = _DEPENDENT * d, []
    d[d <= floor] = np.inf
    C = C.T.copy()
    for block in consecutive(k, _BLOCK):
        V = np.zeros((block.stop - block.start, len(left)))
        for i, v in enumerate(V):
            gains = np.square(C).sum(axis=0) / d
            if not gains.max(initial=0.0) > 0:
                # The others, in the order in which they were drawn: at random.
                rest = np.setdiff1d(np.arange(n), chosen)[: k - len(chosen)]
                return np.array([*chosen, *rest], dtype=np.intp)
            j = int(np.argmax(gains))
            root = np.sqrt(d[j])
            np.subtract(G[j], V[:i, j] @ V[:i], out=v)
            v /= root
            C -= C[:, j, np.newaxis] / root * v
            d -= v * v
            # What is chosen or depends on that is no candidate any more.
            d[d <= floor] = np.inf
            d[j] = np.inf
            chosen.append(left[j])
        open_ = np.isfinite(d)
        left, d, floor, C, V = left[open_], d[open_], floor[open_], C[:, open_], V[:, open_]
        # numpy halves the work of a product of an array with itself.
        G = G[np.ix_(open_, open_)]
        G -= V.T @ V
    return np.array(chosen, dtype=np.intp)
