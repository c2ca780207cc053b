"""What a sketch or a Gram matrix tells of a matrix: its right singular vectors, roughly."""

from typing import NamedTuple

import numpy as np

from ..._typing import Array
from ..dense.rank import numerical_rank
from ..dense.ritz import descending_eigh
from ..dense.triangular import inverse_cholesky

# Of a Gram matrix in float64, eigenvalues below this many eps of the largest are noise:
# more than by the `numerical_rank`, as what is lost here costs one more Gram matrix.
_GRAM_NOISE = 100 * np.finfo(np.float64).eps

# With fewer features, an eigendecomposition takes no longer than a Cholesky factorisation
# and an estimate of its condition.
_MOST_DECOMPOSED = 48

# Power iterations until the extreme singular values are known to a factor of two.
_POWERS = 8


class Spectrum(NamedTuple):
    """Approximate right singular vectors and values of a matrix A.

    Attributes
    ----------
    V : ndarray of shape (n_features, r)
        Orthonormal columns, that span the row space of A.
    s : ndarray of shape (r,)
        Positive, in decreasing order: ``A V / s`` is well conditioned.
    distortion : float
        Bound on the relative error of the lengths ``||A V z||``, an estimate.
    """

    V: np.ndarray
    s: np.ndarray
    distortion: float

    def penalised_condition(self, alpha: float) -> float:
        """Return the condition number of A stacked on ``sqrt(alpha) I``; 1 for zeros."""
        if not len(self.s):
            return 1.0
        first, last = np.hypot(self.s[[0, -1]], np.sqrt(alpha))
        return float(first / last)

    def preconditioner(self, alphas: Array) -> "Preconditioner":
        """Return the preconditioner for penalties of shape (n_targets,)."""
        return Preconditioner(
            self.V,
            1.0 / np.hypot(self.s[:, np.newaxis], np.sqrt(alphas)),
            size=float(self.s.max(initial=0.0)),
            condition=self.penalised_condition(alphas.min()),
            distortion=self.distortion,
        )


def spectrum_of_sketch(SA: Array, n_rows: int, distortion: float) -> tuple[Spectrum, Array]:
    """Return the spectrum of A from that of ``S A``.

    Rokhlin & Tygert (2008): with a triangular factor of ``S A``, A becomes well
    conditioned. Here it is the singular value decomposition (Meng, Saunders & Mahoney
    2014), which says what is dependent to rounding, and serves all penalties.

    Parameters
    ----------
    SA : ndarray of shape (l, n_features)
        A sketch, or A itself.
    n_rows : int
        Rows of A, for the `numerical_rank`. Columns are not scaled for it, and entries
        count as exact: the solution of least norm and the penalty are in the data's units.
    distortion : float
        That of the sketch.

    Returns
    -------
    Spectrum
    U : ndarray of shape (l, r)
        Left singular vectors of SA.
    """
    U, s, Vt = np.linalg.svd(SA, full_matrices=False)
    rank = numerical_rank(s, (n_rows, SA.shape[1]))
    return Spectrum(Vt[:rank].T, s[:rank], distortion), U[:, :rank]


def spectrum_of_gram(G: Array, alpha: float) -> Spectrum:
    """Return the spectrum of A from ``G = A^T A``; None where that has lost it.

    Parameters
    ----------
    G : ndarray of shape (n_features, n_features)
    alpha : float
        The least penalty, which hides what lies below it.

    Returns
    -------
    Spectrum
        Where eigenvalues of ``G + alpha I`` are at the level of rounding, s is no less
        than that level, and the distortion is 1.
    """
    values, Vt = descending_eigh(G)
    noise = _GRAM_NOISE * values.max(initial=0.0)
    if not values.min(initial=np.inf) + alpha > noise:
        # Of a matrix of zeros, nothing is noise.
        values = np.maximum(values, noise)[: None if noise > 0 else 0]
        return Spectrum(Vt.T[:, : len(values)], np.sqrt(values), 1.0)
    values = np.maximum(values, 0.0)
    return Spectrum(Vt.T, np.sqrt(values), _distortion(values[0] / (values[-1] + alpha)))


def _distortion(condition):
    """Return what a Gram matrix of some condition does to lengths, as an estimate."""
    return float(min(_GRAM_NOISE * condition, 0.1))


def factored_gram(G: Array, alphas: Array) -> "Preconditioner | None":
    """Return a preconditioner from the Cholesky factor of ``A^T A + alpha I``.

    Parameters
    ----------
    G : ndarray of shape (n_features, n_features)
        ``A^T A``.
    alphas : ndarray of shape (n_targets,)

    Returns
    -------
    Preconditioner or None
        None where an eigendecomposition is no more expensive, or needed: for different
        penalties, or where the least eigenvalue is at the level of rounding.
    """
    if len(G) <= _MOST_DECOMPOSED or np.any(alphas != alphas[0]):
        return None
    shifted = G.copy()
    shifted.flat[:: len(G) + 1] += alphas[0]
    try:
        inverse = inverse_cholesky(shifted)
    except np.linalg.LinAlgError:
        return None
    v = w = np.random.default_rng(0).standard_normal(len(G))
    for _ in range(_POWERS):
        v, w = (x / np.linalg.norm(x) for x in (shifted @ v, inverse.T @ (inverse @ w)))
    largest, inverse_least = v @ (shifted @ v), np.square(inverse @ w).sum()
    condition = float(largest * inverse_least)
    if not condition * _GRAM_NOISE < 1:
        return None
    return Preconditioner(
        inverse.T,
        np.ones((1, len(alphas))),
        size=float(np.sqrt(largest)),
        condition=float(np.sqrt(condition)),
        distortion=_distortion(condition),
    )


def refined(spectrum: Spectrum, G: Array, n_rows: int) -> Spectrum:
    """Return the spectrum of A from ``G = F^T F`` of ``F = A V / s``, better conditioned.

    Preconditioned Cholesky QR (Fan, Guo & Lin 2021), with a root R of G that need not be
    triangular: the singular values of A are those of ``R diag(s)``, to eps of the largest.
    With s from a Gram matrix and no less than its noise, this is shifted Cholesky QR
    (Fukaya, Kannan, Nakatsukasa, Yamamoto & Yanagisawa 2020).
    """
    values, Ut = descending_eigh(G)
    R = np.sqrt(np.maximum(values, 0.0))[:, np.newaxis] * Ut
    _, s, Zt = np.linalg.svd(R * spectrum.s)
    rank = numerical_rank(s, (n_rows, len(spectrum.V)))
    return Spectrum(spectrum.V @ Zt[:rank].T, s[:rank], 0.1)


class Preconditioner(NamedTuple):
    """A map W for each target: ``W W^T`` is nearly the inverse of ``A^T A + alpha I``.

    Attributes
    ----------
    V : ndarray of shape (n_features, r) or None
        None stands for the identity.
    scale : ndarray of shape (r or 1, n_targets)
        ``W = V scale``.
    size : float
        The largest singular value of A, or a bound on it.
    condition : float
        The condition number of A stacked on ``sqrt(alpha) I``, for the least alpha.
    distortion : float
        Bound on the relative error of ``W W^T``, an estimate; 0 where it is not known.
    """

    V: np.ndarray | None
    scale: np.ndarray
    size: float
    condition: float = 1.0
    distortion: float = 0.0

    @property
    def rank(self) -> int | None:
        """Directions that the preconditioner knows; None for the identity."""
        return None if self.V is None else self.V.shape[1]

    def apply(self, Z: Array) -> Array:
        """Return ``W Z``, column by column."""
        return self.scale * Z if self.V is None else self.V @ (self.scale * Z)

    def adjoint(self, G: Array) -> Array:
        """Return ``W^T G``, column by column."""
        return self.scale * (G if self.V is None else self.V.T @ G)
