"""Inputs of a layer, known by their mean and second moments."""

from typing import Any

import numpy as np

from ..._typing import Array, SparseMatrix
from ...operators import Moments
from ...operators.passes import dense_rows
from ...operators.scaling import scale_of
from ..arrays import to_numpy

# Rows that are taken to float64 at a time.
_BLOCK = 8192

# Of rows that are zero.
_LEAST_SCALE = 2.0**-1000


class InputMoments:
    """Mean and second moments of rows that come in batches, in float64.

    Parameters
    ----------
    width : int
        Entries of a row.

    Attributes
    ----------
    scale : float
        A power of two near the largest entry, by which rows are divided before they are
        squared.

    Notes
    -----
    Each block is taken about its own mean, so that a mean far from zero costs no digits.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.scale: float = _LEAST_SCALE
        self._moments = Moments.at_mean(0.0, np.zeros(width), np.zeros((width, width)))

    @property
    def count(self) -> int:
        """Rows so far."""
        return int(self._moments.total_weight)

    @property
    def mean(self) -> np.ndarray:
        """Mean of the rows."""
        return self._moments.mean * self.scale

    def add(self, rows: Array | SparseMatrix) -> "InputMoments":
        """Take more rows, an array or a sparse matrix of shape (n_rows, width)."""
        for start in range(0, rows.shape[0], _BLOCK):
            block = dense_rows(rows[start : start + _BLOCK])
            scale = scale_of(block) if block.any() else 0.0
            if scale > self.scale:
                self._moments = self._moments.scaled(self.scale / scale)
                self.scale = scale
            mean = block.mean(axis=0, dtype=np.float64)
            block = (block - mean) / self.scale
            self._moments += Moments.at_mean(
                float(len(block)), mean / self.scale, block.T @ block
            )
        return self

    def second(self, center: bool) -> np.ndarray:
        """Return the covariance, or the second moments about zero, over ``scale**2``.

        Parameters
        ----------
        center : bool

        Returns
        -------
        ndarray of shape (width, width)

        Raises
        ------
        ValueError
            When a single row is to be centred.
        """
        if center and self.count < 2:
            raise ValueError(
                "activations are one sample, but with a bias at least two are needed, as "
                "the bias alone could reproduce a single one."
            )
        moments = self._moments.about_mean() if center else self._moments.about()
        return moments.squares / self.count


def moments_of(activations: Any, name: str, width: int) -> InputMoments:
    """Return the moments of activations, checked.

    Parameters
    ----------
    activations : array-like or tensor of shape (..., width), or InputMoments
        Leading dimensions are all samples. Moments are those of rows of this width.
    name : str
        What errors call them.
    width : int
        What the layer takes.

    Raises
    ------
    ValueError, TypeError
        Those of `to_numpy`, and when they have another width.
    """
    if isinstance(activations, InputMoments):
        return activations
    rows = to_numpy(activations, name)
    if rows.ndim < 2 or rows.shape[-1] != width:
        raise ValueError(
            f"{name} has shape {rows.shape}, but (n_samples, {width}) is expected, as the "
            f"weights take {width}."
        )
    return InputMoments(width).add(rows.reshape(-1, width))


def psd_root(second: Array) -> np.ndarray:
    """Return L with ``L L^T`` the positive semidefinite matrix `second`."""
    try:
        return np.linalg.cholesky(second)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(second)
        return vectors * np.sqrt(np.maximum(values, 0.0))
