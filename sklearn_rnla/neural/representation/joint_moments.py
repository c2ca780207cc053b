"""Joint second moments of several layers: all that spectra and CKA are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from ..._typing import Array, DTypeLike, SparseMatrix
from ...operators import Moments
from ...operators.moments import shift_rows
from ...operators.passes import check_finite, dense_rows, row_squared_norms
from ...operators.rows import add_states

# Rounding of a mean, in units of eps.
_ROUNDING = 10


def fold_joint(
    state: list[Array | Moments] | None,
    parts: SparseMatrix | list[Array] | tuple[Array, Array],
    shift: Array | None,
) -> list[Array | Moments]:
    """Fold moments of the same samples in several layers, about `shift`.

    State, of samples Z of all layers side by side, and of N with the squared norms of the
    samples in each layer: ``[moments of Z, N^T N, N^T Z]``, the moments with the Gram
    matrix.

    Parameters
    ----------
    state : list or None
    parts : list of ndarray or csr_array of shape (b, width of the layer)
        In a unit in which fourth powers are in range, see `safe_exponent`.
    shift : ndarray of shape (n_features,) or None
        A point near the samples of all layers, side by side; None is the origin. Sparse
        parts want what `point_near` returns.
    """
    edges = np.cumsum([0, *(part.shape[1] for part in parts)])
    is_sparse = all(sp.issparse(part) for part in parts)
    if is_sparse:
        Z = shift_rows(sp.csr_array(sp.hstack(parts, format="csr")), shift)
    else:
        Z = _side_by_side(parts, edges, shift)
    norms = [row_squared_norms(Z[:, a:b]) for a, b in pairwise(edges)]
    norms = np.stack(norms, axis=1)
    gram = Z.T @ Z
    gram = gram.toarray() if is_sparse else gram
    if state is None:
        gram = gram.astype(np.float64, copy=False)
    sums = (np.ones(Z.shape[0], Z.dtype) @ Z).astype(np.float64)
    part = [
        Moments(float(Z.shape[0]), sums, gram, shift),
        norms.T @ norms,
        np.asarray(norms.T.astype(Z.dtype) @ Z, dtype=np.float64),
    ]
    return add_states(state, part)


def _side_by_side(parts, edges, shift):
    Z = np.empty(
        (parts[0].shape[0], edges[-1]), np.result_type(*(part.dtype for part in parts))
    )
    for part, (a, b) in zip(parts, pairwise(edges), strict=True):
        point = 0 if shift is None else shift[a:b]
        np.subtract(dense_rows(part), point, out=Z[:, a:b])
    return Z


@dataclass(frozen=True)
class JointMoments:
    """Moments of several layers about their means.

    Attributes
    ----------
    n_samples : int
    edges : ndarray of shape (n_layers + 1,)
        Columns ``edges[i]`` to ``edges[i + 1]`` are those of layer i.
    mean : ndarray of shape (edges[-1],)
    gram : ndarray of shape (edges[-1], edges[-1])
        Of the centred samples, all layers side by side.
    products : ndarray of shape (n_layers, n_layers)
        Sums over the samples of the squared norm in one layer times that in another.
    sketch_sizes : sequence of int or None
        Columns of the Gaussian sketch, of variance one over their number, that a layer was
        multiplied with. None is no sketch.
    """

    n_samples: int
    edges: np.ndarray
    mean: np.ndarray
    gram: np.ndarray
    products: np.ndarray
    sketch_sizes: Sequence[int | None]

    @classmethod
    def of_state(
        cls,
        state: list[Array | Moments],
        widths: list[int] | tuple[int, ...],
        dtype: DTypeLike,
        sketch_sizes: list[Any] | None = None,
    ) -> "JointMoments":
        """Return the moments that `fold_joint` has summed, taken to the mean."""
        moments, NN, NZ = state
        n, gram, d = moments.total_weight, moments.squares, moments.offset
        check_finite(moments.squared_norm, dtype)
        edges = np.cumsum([0, *widths])
        layers = np.arange(len(widths)).repeat(widths)
        # D[:, i] is the mean of layer i in its own columns.
        D = np.zeros((len(d), len(widths)))
        D[np.arange(len(d)), layers] = d
        squares = np.einsum("ij,ij->j", D, D)
        totals = np.add.reduceat(np.diagonal(gram), edges[:-1])
        # |z - d|^2 is |z|^2 - 2 z d + |d|^2; of the product of two of these, the sums.
        half = np.outer(totals, squares) - 2 * NZ @ D
        products = NN + half + half.T + 4 * D.T @ gram @ D
        products -= 3 * n * np.outer(squares, squares)
        centered = moments.about_mean()
        sizes = sketch_sizes or [None] * len(widths)
        joint = cls(int(n), edges, centered.mean, centered.squares, products, sizes)
        joint._clear_rounding(dtype, d)
        return joint

    def _clear_rounding(self, dtype, offset):
        """Set to zero, in place, the moments of layers that are constant."""
        for i in range(len(self.products)):
            columns = self._columns(i)
            total, mean = np.trace(self.block(i, i)), self.mean[columns]
            if is_rounding(total, self.n_samples, mean, dtype, offset=offset[columns]):
                self.gram[columns] = self.gram[:, columns] = 0.0
                self.products[i] = self.products[:, i] = 0.0

    def block(self, i: int, j: int) -> Array:
        """Return the products of the features of layer i with those of layer j."""
        return self.gram[self._columns(i), self._columns(j)]

    def second_moments(self, i: int, *, center: bool) -> Array:
        """Return the Gram matrix of layer i, about its mean or about the origin."""
        gram = self.block(i, i)
        if center:
            return gram
        mean = self.mean[self._columns(i)]
        return gram + self.n_samples * np.outer(mean, mean)

    def cka(self, i: int, j: int) -> tuple[float, float]:
        """Return the similarity of two layers, and its debiased form."""
        # Of layers scaled to a trace of one: fourth powers of theirs may overflow.
        totals = {k: float(np.trace(self.block(k, k))) for k in (i, j)}
        traces = {k: total or 1.0 for k, total in totals.items()}
        squares, products = [], []
        for a, b in ((i, j), (i, i), (j, j)):
            block = self.block(a, b) / (np.sqrt(traces[a]) * np.sqrt(traces[b]))
            square = float(np.sum(block**2))
            product = float(self.products[a, b] / traces[a] / traces[b])
            size = self.sketch_sizes[a]
            if a == b and size:
                square, product = _without_bias(square, product, size)
            squares.append(square)
            products.append(product)
        ones = [totals[k] / traces[k] for k in (i, j)]
        return cka_of(squares[0], squares[1:], ones, products, self.n_samples)

    def _columns(self, i):
        return slice(self.edges[i], self.edges[i + 1])


def _without_bias(square, product, size):
    """Return what ``||G||_F^2`` and ``sum |x|^4`` of a layer are, in units of ``tr(G)^2``.

    Given those of S^T G S, with a Gaussian S of `size` columns. Its expectations are
    ``(1 + 1 / size) ||G||_F^2 + tr(G)^2 / size``, of the squared trace ``tr(G)^2 +
    2 ||G||_F^2 / size``, and of ``|S^T x|^4``, ``(1 + 2 / size) |x|^4``. Between two
    layers of independent sketches there is no bias.
    """
    own = max(0.0, square - 1 / size) / (1 + 1 / size - 2 * square / size)
    return own, product * (1 + 2 * own / size) / (1 + 2 / size)


def is_rounding(
    total: float, n: float, mean: Array, dtype: DTypeLike, *, offset: Array | None = None
) -> bool:
    """Whether a sum of squares of n rows about their mean is no more than rounding.

    That of a point taken away from the rows is relative to it, that of a difference of
    sums of squares to the square of `offset`, the mean less that point.
    """
    rounding = _ROUNDING * float(np.finfo(dtype).eps)
    squares = rounding**2 * float(mean @ mean)
    if offset is not None:
        squares += rounding * float(offset @ offset)
    return total <= n * squares


def is_constant(A: Any) -> bool:
    """Whether the rows of a `CenteredMatrix` are equal, but for rounding."""
    mean = A.moments.mean
    offset = mean if A.shift is None else mean - A.shift
    return is_rounding(
        A.moments.squared_norm, A.moments.total_weight, mean, A.dtype, offset=offset
    )


def cka_of(
    cross: float,
    squares: list[float] | tuple[float, float],
    traces: list[float] | tuple[float, float],
    products: list[float] | tuple[float, float, float],
    n: int,
) -> tuple[float, float]:
    """Return the centred kernel alignment of two layers, and its debiased form.

    Parameters
    ----------
    cross : float
        ``||Y^T X||_F^2`` of the centred samples.
    squares : sequence of float
        ``||X^T X||_F^2`` and ``||Y^T Y||_F^2``.
    traces : sequence of float
        ``||X||_F^2`` and ``||Y||_F^2``.
    products : sequence of float
        Sums over the samples of ``|x|^2 |y|^2``, ``|x|^4`` and ``|y|^4``.
    n : int
        Number of samples.

    Returns
    -------
    tuple of float
        Zero where a layer is constant; the second also below 4 samples, and where an
        unbiased estimate of a squared norm is not positive.
    """
    plain = min(_ratio(cross, *squares), 1.0)
    if n < 4:
        return plain, 0.0
    pairs = ((cross, 0, 1), (squares[0], 0, 0), (squares[1], 1, 1))
    # The unbiased HSIC of Song et al. (2012), equation 5, of a linear kernel, times
    # n (n - 3): centring a kernel without its diagonal leaves these.
    debiased = [
        _without_rounding(
            value, -n / (n - 2) * product, traces[i] * traces[j] / ((n - 1) * (n - 2))
        )
        for (value, i, j), product in zip(pairs, products, strict=True)
    ]
    return plain, _ratio(*debiased)


def _without_rounding(*terms):
    """Return a sum, zero where its terms cancel but for rounding."""
    total = sum(terms)
    rounding = _ROUNDING * np.finfo(np.float64).eps * max(map(abs, terms))
    return 0.0 if abs(total) <= rounding else total


def _ratio(cross, left, right):
    scale = np.sqrt(max(left, 0.0)) * np.sqrt(max(right, 0.0))
    return float(cross / scale) if scale > 0 else 0.0
