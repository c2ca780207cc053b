"""Preconditioned conjugate gradients for several right-hand sides."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from ..._typing import Array


class PCG(NamedTuple):
    """Solution of ``A X = B``.

    Attributes
    ----------
    X : ndarray of shape (n, n_targets)
        The solution.
    n_iter : int
        Products with A made.
    residual : float
        Largest residual norm over the columns, relative to that of B.
    converged : bool
        Whether it is at most the tolerance.
    steps, ratios : ndarray of shape (n_iter, n_targets) or None
        Step lengths, zero once a column has stopped, and those of the squared norms of
        successive residuals. None where there was no iteration.
    """

    X: np.ndarray
    n_iter: int
    residual: float
    converged: bool
    steps: np.ndarray | None = None
    ratios: np.ndarray | None = None

    def least_ritz_values(self) -> Array:
        """Return the least eigenvalue of A that each column has seen; infinity for none.

        Of the tridiagonal matrix of the Lanczos iteration that conjugate gradients are,
        and so an upper bound on the least of A (of the preconditioned A).
        """
        least = np.full(self.X.shape[1], np.inf)
        for i, (steps, ratios) in enumerate(zip(self.steps.T, self.ratios.T, strict=True)):
            inverse = 1 / steps[: np.count_nonzero(steps)]
            if len(inverse) == 1:  # LAPACK's routine wants an off-diagonal (SciPy 1.11)
                least[i] = inverse[0]
            elif len(inverse):
                before = ratios[: len(inverse) - 1] * inverse[:-1]
                diagonal = inverse + np.append(0.0, before)
                beside = np.sqrt(before * inverse[:-1])
                least[i] = scipy.linalg.eigvalsh_tridiagonal(
                    diagonal, beside, select="i", select_range=(0, 0)
                )[0]
        return least


def pcg(
    product: Callable[..., Any],
    B: Array,
    precondition: Any,
    *,
    tol: float,
    max_iter: int,
    report: Callable[[], bool] | None = None,
) -> PCG:
    """Solve ``A X = B`` column by column, sharing the products.

    Hestenes & Stiefel (1952), with a preconditioner; every column has its own step
    lengths and stops changing once it has converged.

    Parameters
    ----------
    product : callable
        ``product(P)`` is ``A P`` for P of shape (n, n_targets); A is positive definite.
    B : ndarray of shape (n, n_targets)
    precondition : callable
        Applies an approximate inverse of A, positive definite too.
    tol : float
        Residual norm relative to that of B at which to stop.
    max_iter : int
        Most products.
    report : callable, default=None
        Called after each product; a true answer asks to stop.

    Returns
    -------
    PCG
    """
    X, R = np.zeros_like(B), B.copy()
    scale = np.linalg.norm(B, axis=0)
    scale[scale == 0] = 1.0
    Z = precondition(R)
    P = Z.copy()
    rho = np.einsum("ij,ij->j", R, Z)
    best, best_residual, n_iter, history = X.copy(), np.inf, 0, []
    residuals = np.linalg.norm(R, axis=0) / scale
    residual = residuals.max(initial=0.0)
    while residual > tol and n_iter < max_iter:
        AP = product(P)
        n_iter += 1
        curvature = np.einsum("ij,ij->j", P, AP)
        active = (curvature > 0) & (residuals > tol)
        step = np.where(active, rho / np.where(active, curvature, 1.0), 0.0)
        X += step * P
        R -= step * AP
        residuals = np.linalg.norm(R, axis=0) / scale
        residual = residuals.max()
        if residual < best_residual:
            best, best_residual = X.copy(), residual
        if report is not None and report():
            break
        Z = precondition(R)
        new = np.einsum("ij,ij->j", R, Z)
        ratio = np.where(rho > 0, new / np.where(rho > 0, rho, 1.0), 0.0)
        history.append((step, ratio))
        P = Z + ratio * P
        rho = new
    if n_iter == 0:
        best, best_residual = X, residual
    history = np.reshape(history, (-1, 2, B.shape[1]))
    return PCG(
        X=best,
        n_iter=n_iter,
        residual=float(best_residual),
        converged=bool(best_residual <= tol),
        steps=history[:, 0],
        ratios=history[:, 1],
    )
