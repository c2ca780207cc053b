"""Block Krylov iteration: Rayleigh-Ritz on an orthonormal basis that grows by blocks."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..._typing import Array, DTypeLike
from .orth import extend_rows, product64

# The basis is cut back once it would hold more than this many times the width of the
# iteration. With its images it then takes 16 vectors of memory for each one iterated.
# Few iterations get there, and those that do are slow ones, whose passes are worth more
# than memory: a basis of 6 blocks needs up to a fifth more of them.
MAX_BLOCKS = 8

# So many blocks of leading Ritz vectors are then kept: those iterated, and as many that
# come after them, on which it depends how fast those converge.
_KEPT_BLOCKS = 2


def descending_eigh(H: Array) -> tuple[Array, Array]:
    """Return eigenvalues in decreasing order, and eigenvectors as rows."""
    values, vectors = np.linalg.eigh(H)
    return values[::-1], np.ascontiguousarray(vectors[:, ::-1].T)


def bordered(H: Array, cross: Array, corner: Array) -> Array:
    """Return the symmetric matrix with the blocks H, `cross` beside it, and `corner`."""
    n, q = cross.shape
    # By hand, as np.block takes longer than a product of small matrices.
    joined = np.empty((n + q, n + q))
    joined[:n, :n], joined[:n, n:] = H, cross
    joined[n:, :n], joined[n:, n:] = cross.T, corner
    return joined


class Ritz(NamedTuple):
    """Leading Ritz pairs of a symmetric matrix.

    Attributes
    ----------
    values : ndarray of shape (r,)
        In decreasing order, float64.
    vectors, images : ndarray of shape (r, n)
        Orthonormal rows, and their products with the matrix.
    """

    values: np.ndarray
    vectors: np.ndarray
    images: np.ndarray


class RitzBasis:
    """An orthonormal basis, its image under a symmetric matrix, and the Ritz problem.

    Parameters
    ----------
    width : int
        Ritz vectors that are iterated.
    dtype : numpy dtype
        Of basis and images; the Ritz problem is in float64.
    by_magnitude : bool, default=False
        Order Ritz values by absolute value.

    Attributes
    ----------
    vectors, images : ndarray of shape (q, n)
        The basis, as rows, and its image.
    H : ndarray of shape (q, q)
        The matrix projected on the basis, in float64.
    """

    def __init__(self, width: int, dtype: DTypeLike, *, by_magnitude: bool = False) -> None:
        self.width = width
        self.dtype = dtype
        self.by_magnitude = by_magnitude
        self.clear()

    def clear(self) -> None:
        """Forget all vectors."""
        # Arrays of as many rows, which every change of basis is applied to.
        self._rows = ()
        self.H: Any = np.empty((0, 0))
        self._solution = None

    @property
    def vectors(self) -> Array:
        """The basis."""
        return self._rows[0]

    @property
    def images(self) -> Array:
        """Its image."""
        return self._rows[-1]

    def add(self, block: Array, image: Array, H: Array) -> None:
        """Add a block of rows, its image and its block of the projected matrix."""
        if self._rows:
            H = bordered(self.H, product64(self.vectors, image), H)
        self._append(block, image)
        self.H = H

    def _append(self, *rows):
        pairs = zip(self._rows, rows, strict=True) if self._rows else ()
        self._rows = tuple(map(np.concatenate, pairs)) or rows
        self._solution = None

    def solve(self) -> tuple[Array, Array]:
        """Return all Ritz values, and the coefficients of their vectors, as rows."""
        if self._solution is None:
            values, coefficients = descending_eigh((self.H + self.H.T) / 2)
            if self.by_magnitude:
                order = np.argsort(-np.abs(values), kind="stable")
                values, coefficients = values[order], coefficients[order]
            self._solution = values, coefficients
        return self._solution

    def leading(self) -> Ritz:
        """Return as many leading Ritz pairs as are iterated."""
        values, coefficients = self.solve()
        coefficients = coefficients[: self.width].astype(self.dtype)
        vectors, images = coefficients @ self.vectors, coefficients @ self.images
        return Ritz(values[: self.width], vectors, images)

    def make_room(self, n_rows: int) -> None:
        """Restart from the leading Ritz vectors where `n_rows` more would be too many.

        A thick restart: as these are Ritz vectors, the projected matrix is diagonal.
        """
        if len(self.H) + n_rows > MAX_BLOCKS * self.width:
            values, coefficients = self.solve()
            n_kept = _KEPT_BLOCKS * self.width
            self._keep(values[:n_kept], coefficients[:n_kept])

    def _keep(self, values, coefficients):
        rotation = coefficients.astype(self.dtype)
        self._rows = tuple(rotation @ rows for rows in self._rows)
        self.H, self._solution = np.diag(values), None


class KrylovStep:
    """What a pass found. Each part is computed when it is first asked for.

    Attributes
    ----------
    ritz : Ritz
        The leading Ritz pairs.
    residuals : ndarray of shape (r, n)
        ``images - values vectors``: what the images have outside their own vectors.
    block : ndarray of shape (l, n)
        The next block: what the residuals add to the basis, orthonormal. The iteration
        ends where it has no rows.

    Notes
    -----
    The caller may assign other residuals, or another block, before it asks for the next
    step.
    """

    def __init__(self, basis: RitzBasis) -> None:
        self._basis = basis

    @cached_property
    def ritz(self) -> Ritz:
        """The leading Ritz pairs."""
        return self._basis.leading()

    @cached_property
    def residuals(self) -> np.ndarray:
        """What the images have outside their own vectors."""
        values, vectors, images = self.ritz
        return images - values[:, np.newaxis].astype(vectors.dtype) * vectors

    @cached_property
    def block(self) -> np.ndarray:
        """The next block."""
        return extend_rows(self._basis.vectors, self.residuals)


def krylov_steps(
    basis: RitzBasis, start: Array, multiply: Callable[..., Any]
) -> Iterator[KrylovStep]:
    """Iterate on the block Krylov space of a symmetric matrix, one step a pass.

    Parameters
    ----------
    basis : RitzBasis
        Empty; holds the space.
    start : ndarray of shape (l, n)
        Orthonormal rows.
    multiply : callable
        ``multiply(block)`` returns what `basis.add` takes beside the block: its image, and
        what it is projected to.

    Yields
    ------
    KrylovStep
        After each pass, until a block adds nothing. The caller decides when to stop.

    Notes
    -----
    Block Lanczos with full orthogonalisation (Musco & Musco 2015, algorithm 2). Without the
    memory of earlier blocks it is subspace iteration (Halko, Martinsson & Tropp 2011,
    algorithm 4.4). Two things differ from the paper. Rayleigh-Ritz is done after each pass
    rather than once, so that there is something to decide on. The next block is not the
    last product but the residuals of the leading Ritz vectors. Together with the basis both
    span the same, but residuals also show which directions have been found.
    """
    block = start
    while len(block):
        basis.add(block, *multiply(block))
        step = KrylovStep(basis)
        yield step
        block = step.block
        basis.make_room(len(block))
