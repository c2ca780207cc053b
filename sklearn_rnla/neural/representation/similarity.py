"""How similar two representations are, and two subspaces."""

from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np

from ..._random import generator
from ..._sklearn import Interval, StrOptions, validated
from ..._typing import Array, Blocks, Int, MatrixLike, Seed, Tensor
from ...linalg.dense.orth import complete_rows, orthonormal_rows
from ...linalg.dense.pivoting import unit_columns
from ...linalg.dense.rank import rounding_of
from ...operators import CenteredMatrix, passes
from ...operators.moments import point_near, shift_rows
from ...operators.rows import add_states
from ...operators.scaling import in_safe_unit, in_unit_of_largest, is_in_range
from ..arrays import to_numpy
from .activations import WIDEST, PairedRows, in_process, sample_gram
from .joint_moments import JointMoments, cka_of, fold_joint, is_constant

# Vectors that measure what the sketch leaves out; the error is estimated from their spread.
_PROBES = 32


class CKA(NamedTuple):
    """Centred kernel alignment (CKA) of two representations, with a linear kernel.

    Attributes
    ----------
    similarity : float
        Between 0 and 1. It is 0 if a representation is constant.
    debiased : float
        The same ratio from unbiased estimates for the population. It can be negative, or
        slightly above 1. It is 0 if the samples tell nothing: if a representation is
        constant, if there are fewer than 4 samples, or if the estimate of a norm is not
        positive.
    error_estimate : float
        Standard error of `similarity` that is due to the sketch. It is at least the
        rounding error, which is all that is left if no sketch is used.

    See Also
    --------
    linear_cka : Returns it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import linear_cka
    >>> X, Y = np.random.default_rng(0).standard_normal((2, 50, 8))
    >>> found = linear_cka(X, Y)
    >>> found.debiased < found.similarity
    True
    """

    similarity: float
    debiased: float
    error_estimate: float


@validated(
    method=[StrOptions({"auto", "exact", "sketched"})],
    sketch_size=[Interval(Integral, 1, None, closed="left")],
    block_size=[Interval(Integral, 1, None, closed="left"), None],
    n_jobs=[Integral, None],
)
def linear_cka(
    X: MatrixLike | Blocks,
    Y: MatrixLike | Blocks,
    *,
    method: Literal["auto", "exact", "sketched"] = "auto",
    sketch_size: Int = 128,
    block_size: Int | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> CKA:
    """Compute the centred kernel alignment of two representations of the same samples.

    Parameters
    ----------
    X, Y : array-like, tensor, sparse matrix, memmap, dask array or iterator of blocks
        Activations of shape (n_samples, any number of features), read together in row
        blocks.
    method : {"auto", "exact", "sketched"}, default="auto"
        "auto" is exact if there are up to 4096 features, or samples in memory, and
        sketches otherwise.
    sketch_size : int, default=128
        Number of directions of each representation that a sketch treats exactly.
    block_size : int, default=None
        Number of rows of a block.
    n_jobs : int, default=None
        Number of threads over row blocks.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the sketch. An exact result does not depend on it.

    Returns
    -------
    CKA
        The named tuple ``(similarity, debiased, error_estimate)``.

    Raises
    ------
    ValueError
        If X and Y have different numbers of rows, if they have NaN or infinity, or if they
        are iterators and so wide that they must be read several times.

    See Also
    --------
    representation_spectrum : Describes one representation.
    principal_angles : Compares the spans of the features.

    Notes
    -----
    With centred samples, ``||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F)`` (Kornblith,
    Norouzi, Lee & Hinton 2019, equation 5). It does not change if the features are
    rotated, shifted or multiplied by a number. For few samples of many features it is near
    1 whatever they are; the debiased form, with the estimator of Song et al. (2012), is
    not.

    The exact form takes one pass of ``n_samples (d_X + d_Y)^2`` flops or, if there are
    fewer samples than features, the kernels of the samples. A sketch takes three passes
    over each side and about ``20 n_samples (d_X + d_Y) (sketch_size + 32)`` flops. The part
    of each norm on a basis of leading directions is exact, and the rest is the mean of 32
    Gaussian probes (Meyer, Musco, Musco & Woodruff 2021, algorithm 1).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import linear_cka
    >>> X = np.random.default_rng(0).standard_normal((100, 8))
    >>> rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0]
    >>> round(linear_cka(X, 3 * X @ rotation + 1).similarity, 6)
    1.0
    """
    pair = PairedRows(X, Y, block_size=block_size, n_jobs=n_jobs)
    eps = max(float(np.finfo(rows.dtype).eps) for rows in (pair.X, pair.Y))
    if not _is_sketched(pair, method, sketch_size):
        exact = _by_samples if _has_few_samples(pair) else _by_features
        return CKA(*exact(pair), eps)
    if not (pair.X.rereadable and pair.Y.rereadable):
        raise ValueError(
            "X or Y is an iterator, which can be read once, but a sketch takes three "
            "passes: pass method='exact', or an array, memmap or dask array."
        )
    return _sketched(pair, sketch_size, eps, generator(random_state))


def _is_sketched(pair, method, sketch_size):
    widths = pair.X.shape[1], pair.Y.shape[1]
    if method == "auto":
        return max(widths) > WIDEST and not _has_few_samples(pair)
    # A sketch as wide as the data is not one.
    return method == "sketched" and sketch_size + _PROBES < min(widths)


def _has_few_samples(pair):
    """Whether kernels of the samples are smaller than Gram matrices, and can be formed."""
    n_rows = pair.X.shape[0]
    if not (in_process(pair.X) and in_process(pair.Y)) or n_rows > WIDEST:
        return False
    return n_rows < pair.X.shape[1] + pair.Y.shape[1]


def _by_samples(pair):
    K, L = (_kernel(CenteredMatrix(rows).in_safe_unit()) for rows in (pair.X, pair.Y))
    k, m = np.diagonal(K), np.diagonal(L)
    return cka_of(
        np.vdot(K, L),
        (np.vdot(K, K), np.vdot(L, L)),
        (k.sum(), m.sum()),
        (k @ m, k @ k, m @ m),
        len(K),
    )


def _kernel(A):
    """Return inner products of the centred samples, scaled to a trace of one."""
    K = sample_gram(A)
    if is_constant(A):
        K[:] = 0.0
    else:
        K /= np.trace(K)
    return K


def _by_features(pair):
    """Return the alignment by Gram matrices of the features."""
    pair.X, pair.Y = in_safe_unit(pair.X), in_safe_unit(pair.Y)
    state = _fold_moments(pair)
    widths = pair.X.shape[1], pair.Y.shape[1]
    dtype = np.result_type(pair.X.dtype, pair.Y.dtype)
    squares = np.split(np.diagonal(state[0].squares), widths[:1])
    fits = all(is_in_range(part.sum(), dtype) for part in squares)
    if not fits and pair.X.rereadable and pair.Y.rereadable:
        # A few rows have not told the unit of the others.
        pair.X, pair.Y = in_unit_of_largest(pair.X), in_unit_of_largest(pair.Y)
        state = _fold_moments(pair)
    return JointMoments.of_state(state, widths, dtype).cka(0, 1)


def _fold_moments(pair):
    points = [(point_near(rows), rows) for rows in (pair.X, pair.Y)]
    shift = None
    if any(point is not None for point, _ in points):
        shift = np.concatenate(
            [np.zeros(A.shape[1], A.dtype) if p is None else p for p, A in points]
        )
    return pair.fold(fold_joint, shift)


def _sketched(pair, size, eps, rng):
    X, Y = (CenteredMatrix(rows).in_safe_unit() for rows in (pair.X, pair.Y))
    if any(is_constant(A) for A in (X, Y)):
        return CKA(0.0, 0.0, eps)
    # Moments may have changed the units.
    pair.X, pair.Y = X.rows, Y.rows
    V, W = (_leading_and_probes(A, size, rng) for A in (X, Y))
    # All is of layers scaled to a trace of one.
    traces = [A.moments.squared_norm for A in (X, Y)]
    squares = [
        _squares_of(A.gram_product(U).Z / trace)
        for A, U, trace in zip((X, Y), (V, W), traces, strict=True)
    ]
    centers = [_center_of(A) for A in (X, Y)]
    crossed, sums, *products = pair.fold(_fold_cross, V, *centers, *traces)
    if centers[1][1] is not None:
        # What was not taken from the rows is taken from the product.
        crossed = crossed - np.outer(sums, centers[1][1])
    crossed = crossed / (np.sqrt(traces[0]) * np.sqrt(traces[1]))
    values, errors = zip(_squares_of(crossed), *squares, strict=True)
    n = pair.X.shape[0]
    plain, debiased = cka_of(values[0], values[1:], (1.0, 1.0), products, n)
    # Errors of the three may conspire.
    relative = [e / v if v > 0 else 0.0 for e, v in zip(errors, values, strict=True)]
    error = plain * (relative[0] + (relative[1] + relative[2]) / 2)
    return CKA(plain, debiased, max(eps, float(error)))


def _leading_and_probes(A, size, rng):
    """Return a basis of leading directions, and Gaussian probes of what it leaves."""
    n_features = A.shape[1]
    size = min(size, n_features)
    test = rng.standard_normal((size, n_features)).astype(A.dtype)
    # Applied to the orthonormal rows, the product has the leading directions enlarged.
    leading = A.gram_product(orthonormal_rows(test)).Z
    Q = orthonormal_rows(leading / np.abs(leading).max())
    Q = complete_rows(Q, size, rng)
    probes = rng.standard_normal((_PROBES, n_features)).astype(A.dtype)
    for _ in range(2):
        probes -= (probes @ Q.T) @ Q
    return np.concatenate([Q, probes])


def _squares_of(images):
    """Return the squared Frobenius norm from images of a basis and of probes.

    And the standard error of it.
    """
    squares = np.einsum("ij,ij->i", images, images, dtype=np.float64)
    rest = squares[-_PROBES:]
    known = float(squares[:-_PROBES].sum())
    return known + float(rest.mean()), float(rest.std(ddof=1)) / np.sqrt(_PROBES)


def _center_of(A):
    """Return what `_fold_cross` takes from the rows, and what is then left of the mean.

    Of dense rows, the mean; of sparse ones, see `point_near`.
    """
    mean = A.moments.mean
    if not A.rows.sparse:
        return mean.astype(A.dtype), None
    return A.shift, mean if A.shift is None else mean - A.shift


def _fold_cross(state, pair, V, x_center, y_center, x_trace, y_trace):
    """Products with Y of X on the rows of V: ``[P^T Y, 1^T P, products of norms]``.

    Squared norms are shares of the trace.
    """
    x, x_norms = _centered(pair[0], *x_center)
    y, y_norms = _centered(pair[1], *y_center)
    x_norms, y_norms = x_norms / x_trace, y_norms / y_trace
    P = np.asarray(x @ V.T)
    if x_center[1] is not None:
        P -= (V @ x_center[1]).astype(P.dtype)
    part = [
        np.asarray(P.T @ y, dtype=np.float64),
        P.sum(axis=0, dtype=np.float64),
        x_norms @ y_norms,
        x_norms @ x_norms,
        y_norms @ y_norms,
    ]
    return add_states(state, part)


def _centered(values, shift, rest):
    """Return rows less `shift`, and their squared norms less `rest` too, in float64."""
    values = shift_rows(values, shift)
    squares = passes.row_squared_norms(values)
    if rest is not None:
        squares += rest @ rest - 2 * (values @ rest)
    return values, squares


@validated(
    center=["boolean"],
    block_size=[Interval(Integral, 1, None, closed="left"), None],
    n_jobs=[Integral, None],
)
def principal_angles(
    X: MatrixLike | Blocks,
    Y: MatrixLike | Blocks,
    *,
    center: bool = False,
    block_size: Int | None = None,
    n_jobs: Int | None = None,
) -> Array:
    """Compute the principal angles between the column spaces of two matrices.

    Parameters
    ----------
    X, Y : array-like, tensor, sparse matrix, memmap, dask array or iterator of blocks
        Matrices of shape (n_samples, any number of columns), read together in row blocks.
    center : bool, default=False
        Whether to subtract the mean of each column first. The cosines of the angles are
        then canonical correlations.
    block_size : int, default=None
        Number of rows of a block.
    n_jobs : int, default=None
        Number of threads over row blocks.

    Returns
    -------
    ndarray of shape (min(rank of X, rank of Y),)
        The angles in radians, in increasing order, in float64. There are none if X or Y
        is zero or, with `center`, constant.

    Raises
    ------
    ValueError
        If X and Y have different numbers of rows, or have NaN or infinity.

    See Also
    --------
    subspace_overlap : Compares row spaces by a single number.
    scipy.linalg.subspace_angles : For matrices of full rank in memory.

    Notes
    -----
    The method is that of Bjorck & Golub (1973). One pass finds the triangular factor of X
    and Y side by side, in ``2 n_samples (d_X + d_Y)^2`` flops; the rest is done in its
    coordinates. Angles below 45 degrees are computed from their sines, to an accuracy of
    eps times the condition number of the columns, and larger ones from their cosines
    (Knyazev & Argentati 2002, algorithm 3.1).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import principal_angles
    >>> X, Y = np.eye(4)[:, :2], np.eye(4)[:, 1:3]
    >>> np.degrees(principal_angles(X, Y))
    array([ 0., 90.])
    """
    pair = PairedRows(X, Y, block_size=block_size, n_jobs=n_jobs)
    R = pair.fold(_fold_triangular, center, combine=passes.stack_qr)
    passes.check_finite(np.sum(R), pair.X.dtype)
    # Columns with their means are of unit length: so is their rounding the same.
    R = _unit_columns(R)
    # Without its first row and column, R is the factor of what is orthogonal to ones.
    R = R[1:, 1:] if center else R
    n_left = pair.X.shape[1]
    sides = ((R[:, :n_left], pair.X), (R[:, n_left:], pair.Y))
    return _angles(*(_span(part, rows, center) for part, rows in sides))


def _span(A, rows, center):
    """Return a basis of the columns of `rows`, of factors A about the mean if `center`."""
    tolerance = rounding_of(rows.shape, rows.dtype)
    if not center:
        return _column_basis(A, tolerance)
    # A constant column is zero but for rounding, in float64 whatever the rows are.
    A = A[:, np.linalg.norm(A, axis=0) > rounding_of(rows.shape)]
    # Rounding of the rows is no direction, however little varies beside it.
    s = np.linalg.svd(A, compute_uv=False)
    rank = np.count_nonzero(s > tolerance)
    return _column_basis(A, tolerance)[:, :rank]


def _fold_triangular(state, pair, center):
    """Triangular factor of ``[1, X, Y]``, the ones if `center`, by TSQR."""
    ones = np.ones((pair[0].shape[0], int(center)))
    Z = [ones, *map(passes.dense_rows, pair)]
    Z = np.concatenate(Z, axis=1, dtype=np.float64)
    return passes.stack_qr(state, Z)


def _column_basis(A, tolerance):
    """Return an orthonormal basis of the column space; columns count as of unit length."""
    A = A[:, A.any(axis=0)]
    U, s, _ = np.linalg.svd(_unit_columns(A), full_matrices=False)
    return U[:, s > tolerance * s.max(initial=0.0)]


def _unit_columns(A):
    """Return columns of unit length, those that are zero as they are."""
    # Squares of large and small numbers are out of range.
    largest = np.abs(A).max(axis=0, initial=0.0)
    return unit_columns(A / np.where(largest > 0, largest, 1.0))[0]


def _angles(Q, W):
    """Return the angles between the spans of orthonormal columns, increasing."""
    if Q.shape[1] < W.shape[1]:
        Q, W = W, Q
    if not W.shape[1]:
        return np.zeros(0)
    cross = Q.T @ W
    cosines = np.linalg.svd(cross, compute_uv=False)
    sines = np.linalg.svd(W - Q @ cross, compute_uv=False)[::-1]
    by_cosine = np.arccos(np.minimum(cosines, 1.0))
    return np.where(cosines**2 < 0.5, by_cosine, np.arcsin(np.minimum(sines, 1.0)))


def subspace_overlap(U: Tensor, V: Tensor) -> float:
    """Compute how much of one subspace lies in another: the mean squared cosine.

    Parameters
    ----------
    U, V : array-like or tensor of shape (k, n_features) and (l, n_features)
        Rows that span the subspaces, such as ``components_``. They need not be orthonormal.

    Returns
    -------
    float
        A number from 0, if the subspaces are orthogonal, to 1, if the smaller one lies in
        the larger one.

    Raises
    ------
    ValueError
        If U and V have different numbers of columns, have NaN or infinity, or if one of
        them is zero and spans nothing.

    See Also
    --------
    principal_angles : Computes all angles, between column spaces.

    Notes
    -----
    ``||Q_U Q_V^T||_F^2 / min(k, l)``, with orthonormal bases Q of dimensions k and l. For
    unrelated random subspaces it is ``max(k, l) / n_features`` on average.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import subspace_overlap
    >>> round(subspace_overlap(np.eye(4)[:2], np.eye(4)[1:3]), 6)
    0.5
    """
    U, V = to_numpy(U, "U", 2), to_numpy(V, "V", 2)
    if U.shape[1] != V.shape[1]:
        raise ValueError(f"U has {U.shape[1]} columns, but V has {V.shape[1]} columns.")
    for name, A in {"U": U, "V": V}.items():
        if not A.any():
            raise ValueError(
                f"{name} of shape {A.shape} is zero: it spans nothing that could overlap."
            )
    Q, W = (
        _column_basis(A.T.astype(np.float64), rounding_of(A.shape, A.dtype)) for A in (U, V)
    )
    return float(np.sum((Q.T @ W) ** 2) / min(Q.shape[1], W.shape[1]))
