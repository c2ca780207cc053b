"""Preconditioned conjugate gradients for several right-hand sides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


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
    """

    X: np.ndarray
    n_iter: int
    residual: float
    converged: bool


def pcg(product, B, precondition, *, tol, max_iter, report=None):
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
    best, best_residual, n_iter = X.copy(), np.inf, 0
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
        P = Z + np.where(rho > 0, new / np.where(rho > 0, rho, 1.0), 0.0) * P
        rho = new
    if n_iter == 0:
        best, best_residual = X, residual
    return PCG(best, n_iter, float(best_residual), bool(best_residual <= tol))
