"""What a sketch or a Gram matrix tells of a matrix: its right singular vectors, roughly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..dense.rank import numerical_rank
from ..dense.ritz import descending_eigh

# Of a Gram matrix in float64, eigenvalues below this many eps of the largest are noise:
# more than by the `numerical_rank`, as what is lost here costs no more than another way.
_GRAM_NOISE = 100


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

    def penalised_condition(self, alpha):
        """Return the condition number of A stacked on ``sqrt(alpha) I``; 1 for zeros."""
        if not len(self.s):
            return 1.0
        first, last = np.hypot(self.s[[0, -1]], np.sqrt(alpha))
        return float(first / last)


def spectrum_of_sketch(SA, n_rows, distortion):
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


def spectrum_of_gram(G, alpha):
    """Return the spectrum of A from ``G = A^T A``; None where that has lost it.

    Parameters
    ----------
    G : ndarray of shape (n_features, n_features)
    alpha : float
        The least penalty, which hides what lies below it.

    Returns
    -------
    Spectrum or None
        None where eigenvalues of ``G + alpha I`` are at the level of rounding.
    """
    values, Vt = descending_eigh(G)
    noise = _GRAM_NOISE * np.finfo(np.float64).eps * values.max(initial=0.0)
    values = np.maximum(values, 0.0)
    if len(values) and not values[-1] + alpha > noise:
        return None
    return Spectrum(Vt.T, np.sqrt(values), 0.1)


def refined(spectrum, G):
    """Return the spectrum of A from ``G = F^T F`` of ``F = A V / s``, well conditioned.

    Preconditioned Cholesky QR (Fan, Guo & Lin 2021): ``F = Q L^T``, so that the singular
    values of A are those of ``L^T diag(s)``, to eps of the largest. Where F is not well
    conditioned after all, the spectrum is returned as it is.
    """
    try:
        L = np.linalg.cholesky(G)
    except np.linalg.LinAlgError:
        return spectrum
    _, s, Zt = np.linalg.svd(L.T * spectrum.s)
    return Spectrum(spectrum.V @ Zt.T, s, 0.1)


class Preconditioner(NamedTuple):
    """A map W for each target: ``W W^T`` is nearly the inverse of ``A^T A + alpha I``.

    Attributes
    ----------
    V : ndarray of shape (n_features, r) or None
        None stands for the identity.
    scale : ndarray of shape (r or 1, n_targets)
        ``W = V scale``.
    """

    V: np.ndarray | None
    scale: np.ndarray

    def apply(self, Z):
        """Return ``W Z``, column by column."""
        return self.scale * Z if self.V is None else self.V @ (self.scale * Z)

    def adjoint(self, G):
        """Return ``W^T G``, column by column."""
        return self.scale * (G if self.V is None else self.V.T @ G)


def preconditioner(spectrum, alphas):
    """Return the preconditioner for penalties of shape (n_targets,)."""
    return Preconditioner(
        spectrum.V, 1.0 / np.hypot(spectrum.s[:, np.newaxis], np.sqrt(alphas))
    )
