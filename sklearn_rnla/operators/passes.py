"""The passes: what is folded over row blocks, and the small states they leave.

Vectors in feature space are stored as rows, like ``components_``: ``V`` has shape
(l, n_features). Sparse blocks take ``V.T`` in C order instead (scipy's products want it)
and leave their product in the same layout.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from .._refusals import FILL_FIRST, NotFiniteError, refuse_not_finite
from .._typing import Array, DTypeLike, Indices, SparseMatrix
from .moments import Moments, shift_rows
from .rows import add_states

# Rows of more than so many times the mean energy are told one by one.
HEAVY = 4

# Entries of dense rows that stay in cache.
_CACHED_ENTRIES = 2**18

# Entries summed by one BLAS dot product: bounds the rounding error of float32 sums.
_DOT_ENTRIES = 2**16


def row_squared_norms(B: Array | SparseMatrix) -> Array:
    """Return the squared norms of the rows, in float64."""
    if isinstance(B, np.ndarray):
        return np.einsum("ij,ij->i", B, B, dtype=np.float64)
    return np.asarray(B.astype(np.float64).multiply(B).sum(axis=1)).ravel()


def scale_rows(values: Array | SparseMatrix, factors: Array) -> Array | SparseMatrix:
    """Return the rows times `factors`, a column, in the dtype of `values`."""
    factors = factors.astype(values.dtype, copy=False)
    if isinstance(values, np.ndarray):
        return values * factors
    return values.multiply(factors).tocsr()


def squared_norm(values: Array) -> float:
    """Return the sum of squares of a dense array, in float64 between chunks."""
    flat = values.ravel(order="K")
    if flat.size <= _DOT_ENTRIES:
        return float(np.dot(flat, flat))
    return float(
        sum(
            np.dot(part, part).astype(np.float64)
            for part in np.split(flat, range(_DOT_ENTRIES, flat.size, _DOT_ENTRIES))
        )
    )


def check_finite(squares: float, dtype: DTypeLike) -> None:
    """Raise ValueError where a sum of squares shows that the data are not finite."""
    if not np.isfinite(squares):
        raise NotFiniteError(
            f"Input X contains NaN, infinity or a value too large to be squared in "
            f"{np.dtype(dtype)}."
            f" {FILL_FIRST}"
        )


def fold_not_finite(state: Any, block: Any) -> None:
    """Raise ValueError where a block has NaN or infinity; there is no state."""
    refuse_not_finite(block.values)
    return state


def block_moments(
    values: Array | SparseMatrix,
    weight: Array | None,
    shift: Array | None,
    gram: Array | None = None,
) -> Moments:
    """Return the moments of rows from which `shift`, if any, was taken already.

    With their Gram matrix, where that is given, else with their sum of squares.
    """
    n_rows = values.shape[0]
    total = float(n_rows) if weight is None else float(weight.sum(dtype=np.float64))
    ones = np.ones(n_rows, values.dtype) if weight is None else weight
    sums = (ones @ values).astype(np.float64)
    if gram is not None:
        squares = gram
    elif weight is None:
        squares = squared_norm(values if isinstance(values, np.ndarray) else values.data)
    elif isinstance(values, np.ndarray):
        squares = float(weight @ np.einsum("ij,ij->i", values, values))
    else:
        squares = float(weight @ values.multiply(values).sum(axis=1))
    return Moments(total, sums, squares, shift)


def fold_moments(
    state: list[Moments] | None, block: Any, shift: Array | None
) -> list[Moments]:
    """Moments of the rows about `shift`, None for the origin."""
    values = shift_rows(block.values, shift)
    return add_states(state, [block_moments(values, block.weight, shift)])


def fold_largest(state: Any, block: Any) -> list[float]:
    """Largest absolute value of an entry: ``[largest]``."""
    values = block.values if isinstance(block.values, np.ndarray) else block.values.data
    largest = float(np.abs(values).max(initial=0.0))
    return [largest] if state is None else larger(state, [largest])


def larger(left: Any, right: Any) -> Any:
    """Merge the states of `fold_largest`."""
    return [max(left[0], right[0])]


class FewEnergies(NamedTuple):
    """Energies of consecutive rows: the large ones, and the mean of the others.

    So that little comes back from a cluster.

    Attributes
    ----------
    n_rows : int
    heavy : ndarray of int
        Rows of more than `HEAVY` times the mean.
    energies : ndarray
        Theirs.
    mean : float
        Mean energy of the others.
    """

    n_rows: int
    heavy: np.ndarray
    energies: np.ndarray
    mean: float

    @classmethod
    def of(cls, energies: Array) -> "FewEnergies":
        """Return the summary of energies."""
        energies = energies.astype(np.float64)
        n_rows, is_heavy = len(energies), np.zeros(len(energies), bool)
        while True:
            # Beside the heaviest, none would be above the mean: without it, others are.
            n_rest = n_rows - np.count_nonzero(is_heavy)
            mean = float(energies[~is_heavy].sum()) / max(1, n_rest)
            more = ~is_heavy & (energies > HEAVY * mean)
            if not more.any():
                break
            is_heavy |= more
        heavy = np.flatnonzero(is_heavy)
        return cls(n_rows, heavy, energies[heavy], mean)

    def all(self) -> Array:
        """Return an energy for each row."""
        energies = np.full(self.n_rows, self.mean)
        energies[self.heavy] = self.energies
        return energies


def fold_row_energies(
    state: Any, block: Any, shift: Array | None
) -> list[Moments | list[FewEnergies]]:
    """Moments of the rows about `shift`, and the weighted square of each row's norm.

    State: the moments, and a list of `FewEnergies`, in the order of the rows. Dense rows
    are taken few at a time, so that what is computed of them stays in cache.
    """
    n_rows, n_features = block.values.shape
    size, memory = max(1, n_rows), None
    if isinstance(block.values, np.ndarray):
        size = max(1, _CACHED_ENTRIES // max(1, n_features))
        memory = np.empty((min(size, n_rows), n_features), block.values.dtype)
    energies, sums = np.empty(n_rows, block.values.dtype), np.zeros(n_features)
    ones = np.ones(n_rows, block.values.dtype) if block.weight is None else block.weight
    for a in range(0, n_rows, size):
        values, part = block.values[a : a + size], slice(a, a + size)
        if memory is None or shift is None:
            values = shift_rows(values, shift)
        else:
            values = np.subtract(values, shift, out=memory[: len(values)])
        energies[part] = row_energies(values)
        sums += ones[part] @ values
    if block.weight is not None:
        energies *= block.weight
    squares, total = energies.sum(dtype=np.float64), ones.sum(dtype=np.float64)
    moments = Moments(float(total), sums, float(squares), shift)
    return add_states(state, [moments, [FewEnergies.of(energies)]])


def row_energies(values: Array | SparseMatrix) -> Array:
    """Return the squares of the norms of rows."""
    if isinstance(values, np.ndarray):
        return np.einsum("ij,ij->i", values, values)
    entries = np.square(values.data), values.indices, values.indptr
    squares = type(values)(entries, shape=values.shape)
    return squares @ np.ones(values.shape[1], values.dtype)


def _project_transposed(values, V):
    """Return ``(B V^T)^T``, a view of whichever layout is the faster product."""
    if not isinstance(values, np.ndarray):
        return (values @ V).T
    # OpenBLAS runs this skinny product 1.5 times faster transposed in float64, slower
    # in float32.
    return V @ values.T if values.dtype == np.float64 else (values @ V.T).T


def fold_projected_gram(
    state: Any, block: Any, V: Array, offset: Array, shift: Array | None
) -> list[Array]:
    """``[Y^T Y]`` with ``Y = (B - shift) V^T - offset``: half of a fused Gram product."""
    Yt = _project_transposed(shift_rows(block.values, shift), V)
    Yt -= offset[:, np.newaxis]
    weighted = Yt if block.weight is None else Yt * block.weight
    return add_states(state, [(weighted @ Yt.T).astype(np.float64)])


def fold_gram_product(
    state: list[Any] | None,
    block: Any,
    V: Array,
    offset: Array,
    shift: Array | None,
    moments: bool,
) -> list[Any]:
    """Fused Gram product: ``Z += Y^T B``, ``H += Y^T Y`` with ``Y = B V^T - offset``.

    B are the rows less `shift`, if any, which costs a copy of the block and saves
    cancellation where the mean is much larger than the standard deviation. Reads the
    block once. With `moments`, those ride along.

    State: ``[Z, H, sum of Y's rows]``, and the moments about the shift.
    """
    values, weight = shift_rows(block.values, shift), block.weight
    Yt = _project_transposed(values, V)
    Yt -= offset[:, np.newaxis]
    weighted = Yt if weight is None else Yt * weight
    part = [
        weighted @ values if isinstance(values, np.ndarray) else values.T @ weighted.T,
        (weighted @ Yt.T).astype(np.float64),
        weighted.sum(axis=1, dtype=np.float64),
    ]
    if moments:
        part.append(block_moments(values, weight, shift))
    return add_states(state, part)


def fold_gram(
    state: list[Moments] | None, block: Any, shift: Array | None
) -> list[Moments]:
    """Moments about `shift`, with the Gram matrix: ``[moments]``."""
    values, weight = shift_rows(block.values, shift), block.weight
    # numpy halves the work of a product of an array with itself.
    scaled = values if weight is None else scale_rows(values, weight[:, np.newaxis])
    gram = values.T @ scaled
    gram = gram if isinstance(gram, np.ndarray) else gram.toarray()
    if state is None:
        # The sum is in float64, whatever the terms are.
        gram = gram.astype(np.float64)
    return add_states(state, [block_moments(values, weight, shift, gram)])


def fold_sketch(
    state: Any, block: Any, sketch: Any, shift: Array | None
) -> list[Array | Moments]:
    """Sketch of the rows and of a column of ones, and moments, about `shift`."""
    values = shift_rows(block.values, shift)
    moments = block_moments(values, block.weight, shift)
    ones = np.ones((values.shape[0], 1))
    if block.weight is not None:
        ones = np.sqrt(block.weight.astype(np.float64))[:, np.newaxis]
        values = scale_rows(values, ones)
    part = [sketch.apply(values, block.start), sketch.apply(ones, block.start), moments]
    return add_states(state, part)


def fold_qr(
    state: Any, block: Any, V: Array | None, offset: Array, shift: Array | None
) -> Array:
    """Triangular factor of ``(B - shift) V^T - offset`` by TSQR; V None is the identity.

    Householder QR of each block stacked under the factor so far: backward stable, unlike
    the Gram matrix, whose rounding errors are relative to the largest singular value
    squared.
    """
    values = shift_rows(block.values, shift)
    if V is None:
        Y = dense_rows(values) - offset
    else:
        Y = values @ (V.T if isinstance(values, np.ndarray) else V) - offset
    Y = Y.astype(np.float64, copy=False)
    if block.weight is not None:
        Y = Y * np.sqrt(block.weight)[:, np.newaxis]
    return stack_qr(state, Y)


def stack_qr(upper: Array | None, lower: Array) -> Array:
    """Return the triangular factor of `upper` stacked on `lower`."""
    stacked = lower if upper is None else np.concatenate([upper, lower])
    if not stacked.shape[1]:
        # scipy would make the square Q of as many rows, only to drop it.
        return stacked[:0]
    return scipy.linalg.qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][
        : stacked.shape[1]
    ]


def project(
    values: Array | SparseMatrix,
    Vt: Array,
    offset: Array | float,
    shift: Array | None = None,
) -> Array:
    """Return ``(B - shift) V^T - offset``, the block in the coordinates of V's rows."""
    return shift_rows(values, shift) @ Vt - offset


def take_columns(values: Array | SparseMatrix, indices: Indices | slice) -> Array:
    """Return columns of a block, as a dense array."""
    return dense_rows(values[:, indices])


def dense_rows(values: Array | SparseMatrix) -> Array:
    """Return the rows of a block as an ndarray."""
    return values if isinstance(values, np.ndarray) else values.toarray()


def fold_sketch_with_targets(
    state: list[Array | Moments] | None,
    block: Any,
    sketch: Any,
    shift: Array | None,
    Y: Array,
) -> list[Array | Moments]:
    """Sketch of the rows about `shift`, and of a column of ones and targets, in float64.

    State: ``[S W^(1/2) B, S W^(1/2) [1, Y], moments]``, without the squares.
    """
    values, root = double_rows(block, shift), root_weight(block)
    n, p = values.shape
    Y = Y[block.start : block.start + n]
    others = np.concatenate([np.ones((n, 1)), Y], axis=1)
    moments = sums_of(values, block.weight, shift)
    if root is not None:
        values, others = scale_rows(values, root), others * root
    if isinstance(values, np.ndarray):
        # One product: the columns of the sketch are drawn once.
        both = sketch.apply(np.concatenate([values, others], axis=1), block.start)
        part = [both[:, :p], both[:, p:]]
    else:
        part = [sketch.apply(values, block.start), sketch.apply(others, block.start)]
    return add_states(state, [*part, moments])


def sums_of(
    values: Array | SparseMatrix, weight: Array | None, shift: Array | None
) -> Moments:
    """Return the moments of rows less `shift` in float64, without the squares."""
    n = values.shape[0]
    weight = np.ones(n) if weight is None else weight.astype(np.float64)
    return Moments(float(weight.sum()), weight @ values, 0.0, shift)


def double_rows(block: Any, shift: Array | None) -> Array | SparseMatrix:
    """Return the rows less `shift`, if any, in float64."""
    return shift_rows(block.values, shift).astype(np.float64, copy=False)


def root_weight(block: Any) -> Array | None:
    """Return the square roots of the weights, a column; None where all are one."""
    if block.weight is None:
        return None
    return np.sqrt(block.weight.astype(np.float64))[:, np.newaxis]
