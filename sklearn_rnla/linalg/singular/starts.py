"""Where an iteration starts, and the row sample it looks ahead on."""

from typing import NamedTuple

import numpy as np

from ...operators.passes import HEAVY
from ...sketching import make_distribution
from ..dense.orth import complete_rows, extend_rows, orthonormal_rows

# A row sample is this share of the rows, within bounds.
_SAMPLE_SHARE = 0.05
_SAMPLE_ROWS = 20_000

# Passes over the row sample that an iteration starts from.
_SAMPLE_PASSES = 3

# Parts of a sample that tell its error: so many that their standard deviation is known to
# a quarter, and few enough that they cost no more than the sample.
_PARTS = 8

# Gaussian rows of a start.
_RANDOM_ROWS = 4


def sample_rows(n_rows, width) -> int:
    """Return the number of rows in a sample that `width` vectors are iterated on."""
    return min(n_rows, max(4 * width, min(int(_SAMPLE_SHARE * n_rows), _SAMPLE_ROWS)))


class RowSample(NamedTuple):
    """Rows drawn from a matrix.

    Attributes
    ----------
    indices : ndarray of int
        Distinct.
    factors : ndarray of float or None
        One over the chance that each was drawn with, so that sums over the sample estimate
        those over all rows. None where all chances are the same.
    """

    indices: np.ndarray
    factors: np.ndarray | None


def draw_rows(energies, n_rows, rng, weight=None) -> RowSample:
    """Draw rows so that none that matters is missed.

    Parameters
    ----------
    energies : ndarray of shape (n,)
        Squared norms of the rows.
    n_rows : int
        Rows to draw; a few more or fewer come where energies are unequal.
    rng : Generator
    weight : ndarray of shape (n,), default=None
        Rows of weight zero are not drawn.

    Notes
    -----
    A uniform sample tells the Gram matrix only as far as the rows are alike. A row of more
    than `HEAVY` times the mean energy is drawn with a chance proportional to its own, up to
    certainty; the mean is that of the rows that are not certain. So no row drawn counts for
    more than ``HEAVY / n_rows`` of their energy, which bounds the error of the sampled Gram
    matrix whatever the rows are (Frieze, Kannan & Vempala 2004).
    """
    candidates = np.arange(len(energies)) if weight is None else np.flatnonzero(weight)
    energies = energies[candidates].astype(np.float64)
    n, n_rows = len(candidates), min(n_rows, len(candidates))
    is_certain = np.zeros(n, bool)
    while True:
        limit = HEAVY * float(energies[~is_certain].sum())
        more = ~is_certain & (n_rows * energies >= limit) & (energies * n > limit)
        if not more.any() or HEAVY * np.count_nonzero(is_certain) > n_rows:
            break
        is_certain |= more
    is_heavy = is_certain | (energies * n > limit)
    if not is_heavy.any():
        return RowSample(candidates[rng.choice(n, n_rows, replace=False)], None)
    heavy, rest = np.flatnonzero(is_heavy), np.flatnonzero(~is_heavy)
    chances = n_rows * energies[heavy] / limit if limit > 0 else np.ones(len(heavy))
    chances = np.where(is_certain[heavy], 1.0, np.minimum(1.0, chances))
    drawn = rng.random(len(heavy)) < chances
    n_rest = -(-n_rows * len(rest) // n)
    chosen = np.concatenate([heavy[drawn], rng.choice(rest, n_rest, replace=False)])
    factors = np.concatenate([1 / chances[drawn], np.full(n_rest, len(rest) / n_rest)])
    return RowSample(candidates[chosen], factors)


class SplitSample:
    """A row sample of a matrix, in parts.

    Their sum estimates products with the Gram matrix; their differences tell its error.
    They have no row in common but those that were certain to be drawn, of which each part
    has its share of the weight.
    """

    def __init__(self, A, sample, rng):
        self._A = A
        order = rng.permutation(len(sample.indices))
        if sample.factors is None:
            parts = np.array_split(order, _PARTS)
            parts = [(sample.indices[part], None) for part in parts]
        else:
            certain = sample.factors == 1
            parts = np.array_split(order[~certain[order]], _PARTS)
            parts = [np.concatenate([part, np.flatnonzero(certain)]) for part in parts]
            factors = np.where(certain, 1 / _PARTS, sample.factors)
            parts = [(sample.indices[part], factors[part]) for part in parts]
        self._is_weighted = sample.factors is not None
        if not getattr(A.rows, "resident", False):
            # Each look at lazy rows may read all of them.
            drawn = np.sort(sample.indices)
            A = A.take(drawn)
            parts = [(np.searchsorted(drawn, part), factors) for part, factors in parts]
        self.parts = [A.take(*part) for part in parts]

    @property
    def scale(self):
        """What a sum over the sample is multiplied by to estimate that over all rows."""
        if self._is_weighted:
            return 1.0
        sampled = sum(part.moments.total_weight for part in self.parts)
        return self._A.moments.total_weight / sampled

    def projected_grams(self, V):
        """Return ``V A^T A V^T`` on each of the parts."""
        return [part.projected_gram(V) for part in self.parts]

    def image(self, V):
        """Return ``V A^T A`` on all parts together."""
        return sum(part.gram_product(V).Z for part in self.parts)


def draw_start(A, width, k, sketch, *, n_rows, known, rng):
    """Return orthonormal rows to start from.

    Parameters
    ----------
    A : CenteredMatrix
    width : int
        How many; one more where all of them are wanted.
    k : int
        How many are wanted.
    sketch : str
        "row_sampling" is `coarse_start`, the name of a distribution `sketched_start`.
    n_rows : int
        Rows to sample; 0 where there are too few, and the sketch is Gaussian instead.
    known : RightSVD or None
        Go on from these vectors, whatever the sketch.
    rng : Generator

    Returns
    -------
    ndarray of shape (l, n_features)

    Notes
    -----
    Some rows are Gaussian: of a direction that the sample does not see, or a sketch, the
    others may have nothing, and then no iteration finds it.
    """
    random = n_random(width, k)
    width, size = max(width, min(k + random, A.shape[1])), max(k, width - random)
    if known is not None:
        start = known.components[:size]
    elif sketch == "row_sampling" and n_rows:
        start = coarse_start(A, size, n_rows=n_rows, rng=rng)
    else:
        by = "gaussian" if sketch == "row_sampling" else sketch
        start = sketched_start(A, size, by, rng=rng)
    return complete_rows(start, width, rng)


def draw_sample(A, width, *, n_rows, rng):
    """Draw `n_rows` rows to look ahead on, None where they are too few for the width."""
    if n_rows == 0:
        return None
    sample = draw_rows(A.row_energies, n_rows, rng, A.rows.weight)
    # Fewer come where most weights are zero.
    return SplitSample(A, sample, rng) if len(sample.indices) >= 4 * width else None


def n_random(width, k) -> int:
    """Return how many rows of a start are random, of those beyond the k wanted."""
    return max(1, min(_RANDOM_ROWS, (width - k) // 2))


def coarse_start(A, width, *, n_rows, rng):
    """Solve on a row sample: a start close to the leading singular vectors.

    Returns
    -------
    ndarray of shape (width, n_features)
        Orthonormal rows, fewer where the rank is lower.

    Notes
    -----
    Subspace iteration on `n_rows` rows, see `draw_rows`, from a Gaussian matrix; what the
    sample does not know no further iteration would tell. `coarse_rows` does the same for
    an array, which has no moments, with fewer products.
    """
    sample = A.take(*draw_rows(A.row_energies, n_rows, rng, A.rows.weight))
    start = rng.standard_normal((width, A.shape[1]), np.float32).astype(A.dtype)
    for _ in range(_SAMPLE_PASSES):
        start = orthonormal_rows(sample.gram_product(start).Z)
    return start


def coarse_rows(A, energies, width, scale, rng):
    """Solve on a row sample of an array, ``A / scale``, as `coarse_start` does.

    There are two reasons not to call that. Each of its passes is summed over row blocks and
    brings moments, which takes longer than the products where A is small. And one pass and
    a half is enough here: the iteration on both sides is half a power ahead of the other.
    """
    indices, factors = draw_rows(energies, sample_rows(len(A), width), rng)
    order = np.argsort(indices)
    sample = A[indices[order]]
    sample /= scale
    if factors is not None:
        sample *= np.sqrt(factors[order]).astype(A.dtype)[:, np.newaxis]
    # The half pass: Gaussian combinations of rows, already in the row space.
    mixed = rng.standard_normal((width, len(indices)), np.float32)
    start = orthonormal_rows(mixed.astype(A.dtype, copy=False) @ sample, n_rounds=1)
    return orthonormal_rows((start @ sample.T) @ sample)


def power_start(A, width, known, rng):
    """Start from one product of all rows with Gaussian vectors, for a pass.

    Parameters
    ----------
    A : CenteredMatrix
        Or what stands for it, see `block_krylov`.
    width : int
    known : RightSVD or None
        Go on from these vectors, as far as they are enough.
    rng : Generator

    Returns
    -------
    ndarray of shape (width, n_features)
        Orthonormal rows, fewer where the rank is lower.
    """
    if known is None:
        kept = np.zeros((0, A.shape[1]), A.dtype)
    else:
        kept = known.components[:width]
    shape = width - len(kept), A.shape[1]
    fresh = rng.standard_normal(shape, np.float32).astype(A.dtype, copy=False)
    found = orthonormal_rows(A.gram_product(fresh).Z)
    return np.concatenate([kept, extend_rows(kept, found)]) if len(kept) else found


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
        Orthonormal rows, fewer where the rank is lower.
    """
    # They sketch the columns, A Omega. S A is a sketch of the rows, whose space is wanted.
    size = min(width, A.shape[0])
    S = make_distribution(sketch, size, A.shape[0]).sample(rng)
    return orthonormal_rows(A.sketch(S).astype(A.dtype))
