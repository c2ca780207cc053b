"""Where an iteration starts, and the row sample it looks ahead on."""

from __future__ import annotations

import numpy as np

from ...sketching import make_distribution
from ..dense.orth import complete_rows, orthonormal_rows

# A row sample is this share of the rows, within bounds.
_SAMPLE_SHARE = 0.05
_SAMPLE_ROWS = 20_000

# Passes over the row sample that an iteration starts from.
_SAMPLE_PASSES = 3


def sample_rows(n_rows, width) -> int:
    """Return the number of rows in a sample that `width` vectors are iterated on."""
    return min(n_rows, max(4 * width, min(int(_SAMPLE_SHARE * n_rows), _SAMPLE_ROWS)))


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


def draw_start(A, width, sketch, *, n_rows, known, rng):
    """Return orthonormal rows to start from.

    Parameters
    ----------
    A : CenteredMatrix
    width : int
        How many.
    sketch : str
        "row_sampling" is `coarse_start`, the name of a distribution `sketched_start`.
    n_rows : int
        Rows to sample; 0 where there are too few, and the sketch is Gaussian instead.
    known : RightSVD or None
        Go on from these vectors, whatever the sketch.
    rng : Generator

    Returns
    -------
    ndarray of shape (width, n_features)
    """
    if known is not None:
        return complete_rows(known.components[:width], width, rng)
    if sketch == "row_sampling" and n_rows:
        return coarse_start(A, width, n_rows=n_rows, rng=rng)
    by = "gaussian" if sketch == "row_sampling" else sketch
    return sketched_start(A, width, by, rng=rng)


def draw_sample(A, width, *, n_rows, rng):
    """Draw `n_rows` rows to look ahead on, None where they are too few for the width."""
    indices = A.draw_rows(n_rows, rng)
    # Fewer come where most weights are zero.
    return PairedSample(A, rng.permutation(indices)) if len(indices) >= 4 * width else None


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
    so that its first pass can bring the exact ones. `coarse_rows` does the same for an
    array, which has no moments, with fewer products.
    """
    sample = A.sample(n_rows, rng)
    start = rng.standard_normal((width, A.shape[1]), np.float32).astype(A.dtype)
    for _ in range(_SAMPLE_PASSES):
        start = orthonormal_rows(sample.gram_product(start).Z)
    A.near(sample.moments)
    return complete_rows(start, width, rng)


def coarse_rows(A, width, scale, rng):
    """Solve on a row sample of an array, ``A / scale``, as `coarse_start` does.

    There are two reasons not to call that. Each of its passes is summed over row blocks and
    brings moments, which takes longer than the products where A is small. And one pass and
    a half is enough here: the iteration on both sides is half a power ahead of the other.
    """
    indices = np.sort(rng.choice(len(A), sample_rows(len(A), width), replace=False))
    sample = A[indices]
    sample /= scale
    # The half pass: Gaussian combinations of rows, already in the row space.
    mixed = rng.standard_normal((width, len(indices)), np.float32)
    start = orthonormal_rows(mixed.astype(A.dtype, copy=False) @ sample, n_rounds=1)
    start = orthonormal_rows((start @ sample.T) @ sample)
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
