"""Where an iteration starts, and the row sample it looks ahead on."""

from __future__ import annotations

import numpy as np

from ..sketching import make_distribution
from .orth import complete_rows, orthonormal_rows

# Passes over the row sample that an iteration starts from.
_SAMPLE_PASSES = 3


class PairedSample:
    """Two disjoint row samples of a matrix: their sum, and their difference.

    The sum estimates products with the Gram matrix; the difference estimates its error.
    """

    def __init__(self, A, indices):
        self._A = A
        self.halves = [A.take(part) for part in np.array_split(indices, 2)]

    @property
    def scale(self):
        """What a sum over the sample is multiplied by to estimate that over all rows."""
        sampled = sum(half.moments.total_weight for half in self.halves)
        return self._A.moments.total_weight / sampled

    def projected_grams(self, V):
        """Return ``V A^T A V^T`` on each of the halves."""
        return [half.projected_gram(V) for half in self.halves]

    def image(self, V):
        """Return ``V A^T A`` on the two halves together."""
        first, second = (half.gram_product(V).Z for half in self.halves)
        first += second
        return first


def coarse_start(A, width, *, n_rows, rng):
    """Solve on a row sample: a start close to the leading singular vectors.

    Returns
    -------
    ndarray of shape (width, n_features)
        Orthonormal rows.

    Notes
    -----
    Subspace iteration on `n_rows` rows drawn uniformly, from a Gaussian matrix; what the
    sample does not know no further iteration would tell. A is told the sample's moments,
    so that its first pass can bring the exact ones.
    """
    sample = A.sample(n_rows, rng)
    start = rng.standard_normal((width, A.shape[1]), np.float32).astype(A.dtype)
    for _ in range(_SAMPLE_PASSES):
        start = orthonormal_rows(sample.gram_product(start).Z)
    A.near(sample.moments)
    return complete_rows(start, width, rng)


def sketched_start(A, width, sketch, *, rng):
    """Start from the row space of a sketch ``S A``, in one pass over all rows.

    Half a power iteration better than a random start (Halko, Martinsson & Tropp 2011,
    section 4.5), and within reach of a matrix whose rows are too unequal to sample.

    Parameters
    ----------
    A : CenteredMatrix
    width : int
    sketch : str
        Name of a distribution, see `make_distribution`.
    rng : Generator

    Returns
    -------
    ndarray of shape (width, n_features)
        Orthonormal rows.
    """
    size = min(width, A.shape[0])
    S = make_distribution(sketch, size, A.shape[0]).sample(rng)
    start = orthonormal_rows(A.sketch(S).astype(A.dtype))
    return complete_rows(start, width, rng)
