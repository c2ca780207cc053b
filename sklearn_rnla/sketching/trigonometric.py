"""Subsampled randomised trigonometric transforms: structure that mixes in n log n."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse as sp

from .._random import stream
from .._typing import Array, DTypeLike, SparseMatrix
from .distribution import Distribution, Sketch, float_dtype

_SHORTEST = 1024


class SRTTSketch(Sketch):
    """A sketch by random signs, a cosine transform and a subset of its outputs."""

    @property
    def _length(self):
        """Entries transformed together: all of them, or tiles of a power of two."""
        n_rows, n_columns = self.shape
        length = max(_SHORTEST, 1 << (4 * n_rows - 1).bit_length())
        return min(length, n_columns)

    def _tile(self, index, dtype):
        """Return signs of inputs, chosen outputs and their scaled signs."""
        n_rows, length = self.shape[0], self._length
        rng = stream(self.seed, index)
        signs = rng.choice(np.array([-1.0, 1.0]), size=length)
        chosen = rng.choice(length, size=n_rows, replace=False)
        outputs = rng.choice(np.array([-1.0, 1.0]), size=n_rows)
        outputs *= np.sqrt(length / n_rows)
        return signs.astype(dtype), chosen, outputs.astype(dtype)

    def _parts(self, start, stop):
        """Yield tile index and the overlap, within the tile and within start:stop."""
        length = self._length
        for index in range(start // length, -(-stop // length)):
            a, b = max(start, index * length), min(stop, (index + 1) * length)
            yield (
                index,
                slice(a - index * length, b - index * length),
                slice(a - start, b - start),
            )

    def apply(self, A: Array | SparseMatrix, start: int) -> Array:
        dtype = float_dtype(A)
        out = np.zeros((self.shape[0], A.shape[1]), dtype)
        for index, inside, rows in self._parts(start, start + A.shape[0]):
            signs, chosen, outputs = self._tile(index, dtype)
            part = A[rows]
            part = part.toarray() if sp.issparse(part) else np.asarray(part)
            padded = np.zeros((self._length, A.shape[1]), dtype)
            np.multiply(part, signs[inside, np.newaxis], out=padded[inside])
            mixed = scipy.fft.dct(padded, axis=0, norm="ortho", overwrite_x=True)
            out += outputs[:, np.newaxis] * mixed[chosen]
        return out

    def apply_adjoint(self, Y: Array | SparseMatrix, start: int, stop: int) -> Array:
        dtype = float_dtype(Y)
        Y = Y.toarray() if sp.issparse(Y) else Y
        out = np.empty((stop - start, Y.shape[1]), dtype)
        for index, inside, rows in self._parts(start, stop):
            signs, chosen, outputs = self._tile(index, dtype)
            spread = np.zeros((self._length, Y.shape[1]), dtype)
            spread[chosen] = outputs[:, np.newaxis] * Y
            mixed = scipy.fft.idct(spread, axis=0, norm="ortho", overwrite_x=True)
            out[rows] = signs[inside, np.newaxis] * mixed[inside]
        return out

    def drawn(self, dtype: DTypeLike = np.float64) -> None:
        """Return None: it is never a matrix."""

    def project(self, A: Array | SparseMatrix, drawn: Any) -> Array:
        return self.apply(A.T, 0).T

    def columns(self, start: int, stop: int, dtype: DTypeLike = np.float64) -> Array:
        identity = np.eye(self.shape[0], dtype=dtype)
        return self.apply_adjoint(identity, start, stop).T


@dataclass(frozen=True)
class SRTT(Distribution):
    """Random signs, a discrete cosine transform, and `n_rows` of its outputs.

    Parameters
    ----------
    n_rows : int
        Sketch size: rows of S; at most `n_columns`.
    n_columns : int
        Dimension sketched: columns of S.

    Notes
    -----
    ``S = sqrt(L / n_rows) R F D``: D random signs, F the orthonormal DCT-II, R a uniform
    choice of rows (Halko, Martinsson & Tropp 2011, section 4.6, with a real transform).
    It is applied to tiles of ``L = O(n_rows)`` entries, each with its own D and R and
    with random signs on its outputs, and summed (Balabanov, Beaupere, Grigori & Lederer
    2023): so it works block by block, and an m x n matrix costs O(m n log n_rows) flops.
    Sparse input is made dense a tile at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.sketching import SRTT
    >>> S = SRTT(8, 64).sample(0)
    >>> Q = S.to_dense() * np.sqrt(8 / 64)
    >>> bool(np.allclose(Q @ Q.T, np.eye(8)))
    True
    """

    _operator = SRTTSketch

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_rows > self.n_columns:
            raise ValueError(
                f"n_rows={self.n_rows} must be at most n_columns={self.n_columns}."
            )
