"""Rayleigh-Ritz on a growing orthonormal basis."""

from __future__ import annotations

import numpy as np

from .orth import product64


def descending_eigh(H):
    """Return eigenvalues in decreasing order, and eigenvectors as rows."""
    values, vectors = np.linalg.eigh(H)
    return values[::-1], np.ascontiguousarray(vectors[:, ::-1].T)


class RitzBasis:
    """An orthonormal basis, its image under a symmetric matrix, and the Ritz problem.

    Parameters
    ----------
    dtype : numpy dtype
        Of basis and images; the Ritz problem is in float64.
    by_magnitude : bool, default=False
        Order Ritz values by absolute value.
    """

    def __init__(self, dtype, *, by_magnitude=False):
        self.dtype = dtype
        self.by_magnitude = by_magnitude
        self.vectors = self.images = self.H = None

    def add(self, block, image, H):
        """Add a block of rows, its image and its block of the projected matrix."""
        if self.vectors is None:
            self.vectors, self.images, self.H = block, image, H
        else:
            cross = product64(self.vectors, image)
            self.H = np.block([[self.H, cross], [cross.T, H]])
            self.vectors = np.concatenate([self.vectors, block])
            self.images = np.concatenate([self.images, image])
        self.values, self.coefficients = descending_eigh((self.H + self.H.T) / 2)
        if self.by_magnitude:
            order = np.argsort(-np.abs(self.values), kind="stable")
            self.values, self.coefficients = self.values[order], self.coefficients[order]

    def rotate(self, n_rows):
        """Return the leading `n_rows` Ritz values, vectors and their images."""
        coefficients = self.coefficients[:n_rows].astype(self.dtype)
        return (
            self.values[:n_rows],
            coefficients @ self.vectors,
            coefficients @ self.images,
        )

    def restart(self, n_rows):
        """Keep the leading `n_rows` Ritz vectors."""
        values, self.vectors, self.images = self.rotate(n_rows)
        self.H = np.diag(values)
        self.coefficients = np.eye(len(values))
