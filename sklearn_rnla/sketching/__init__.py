"""Random maps: a distribution describes one, `sample` draws it, ``@`` applies it.

A sketch S has shape (n_rows, n_columns) and ``E[S^T S] = I``: it preserves squared
lengths on average. ``S @ A`` compresses the rows of A, ``A @ S.T`` its columns.
"""

from typing import Literal

from .distribution import Distribution, Sketch
from .gaussian import Gaussian
from .sampling import RowSampling
from .sparse_sign import SparseSign
from .trigonometric import SRTT

__all__ = [
    "SRTT",
    "Distribution",
    "Gaussian",
    "RowSampling",
    "Sketch",
    "SparseSign",
    "make_distribution",
]

_BY_NAME = {"gaussian": Gaussian, "sparse_sign": SparseSign, "srtt": SRTT}


def make_distribution(
    name: Literal["gaussian", "sparse_sign", "count", "srtt", "row_sampling"],
    n_rows: int,
    n_columns: int,
) -> Distribution:
    """Return a distribution by its name.

    Parameters
    ----------
    name : {"gaussian", "sparse_sign", "srtt"}
        Its name.
    n_rows, n_columns : int
        Shape of the sketch.

    Returns
    -------
    Distribution
        With its default parameters.

    Examples
    --------
    >>> from sklearn_rnla.sketching import make_distribution
    >>> make_distribution("gaussian", 20, 1000).sample(random_state=0).to_dense().shape
    (20, 1000)
    """
    if name not in _BY_NAME:
        raise ValueError(f"sketch={name!r} must be one of {sorted(_BY_NAME)}.")
    return _BY_NAME[name](n_rows, n_columns)
