"""Row sampling: a sketch that keeps real rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._random import stream
from .._typing import AnyArray, DTypeLike, SparseMatrix
from .distribution import Distribution, Sketch


class RowSamplingSketch(Sketch):
    """A sketch whose rows are scaled unit vectors.

    Attributes
    ----------
    indices : ndarray of shape (n_rows,)
        The row of A that each row of ``S A`` comes from.
    scales : ndarray of shape (n_rows,)
        What it is multiplied by.
    """

    def __init__(self, distribution: "RowSampling", seed: int) -> None:
        super().__init__(distribution, seed)
        n_rows, n_columns = self.shape
        rng = stream(seed)
        p = distribution.probabilities
        if p is None:
            self.indices: AnyArray = rng.integers(n_columns, size=n_rows)
            self.scales: Any = np.full(n_rows, np.sqrt(n_columns / n_rows))
        else:
            p = np.asarray(p)
            self.indices = rng.choice(n_columns, size=n_rows, p=p)
            self.scales = 1 / np.sqrt(n_rows * p[self.indices])

    def columns(self, start: int, stop: int, dtype: DTypeLike = np.float64) -> SparseMatrix:
        inside = np.flatnonzero((self.indices >= start) & (self.indices < stop))
        return sp.csc_array(
            (
                self.scales[inside].astype(dtype),
                (inside, self.indices[inside] - start),
            ),
            shape=(self.shape[0], stop - start),
        )


@dataclass(frozen=True)
class RowSampling(Distribution):
    """Rows drawn independently with replacement, scaled by 1 / sqrt(n_rows p).

    Parameters
    ----------
    n_rows : int
        Sketch size: rows of S.
    n_columns : int
        Dimension sketched: columns of S.
    probabilities : tuple of float, default=None
        Of each column of S, summing to one; None is uniform.

    Notes
    -----
    Drineas, Kannan & Mahoney (2006), algorithm "BasicMatrixMultiplication". Unlike the
    other sketches it depends on the coordinates: its distortion is that of the
    probabilities relative to the leverage scores.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.sketching import RowSampling
    >>> S = RowSampling(2, 4, probabilities=(0.0, 1.0, 0.0, 0.0)).sample(0)
    >>> (S @ np.arange(4.0)[:, None]).round(2).tolist()
    [[0.71], [0.71]]
    """

    probabilities: tuple[Any, ...] | None = None
    _operator = RowSamplingSketch

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.probabilities is None:
            return
        p = np.asarray(self.probabilities, dtype=float)
        if p.shape != (self.n_columns,) or (p < 0).any() or not np.isclose(p.sum(), 1):
            raise ValueError(
                f"probabilities of shape {p.shape} must be {self.n_columns} non-negative "
                "numbers that sum to one."
            )
        object.__setattr__(self, "probabilities", tuple(p))
