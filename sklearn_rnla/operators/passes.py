"""The passes: what is folded over row blocks, and the small states they leave.

Vectors in feature space are stored as rows, like ``components_``: ``V`` has shape
(l, n_features). Sparse blocks take ``V.T`` in C order instead (scipy's products want it)
and leave their product in the same layout.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from ._rows import add_states

# Entries summed by one BLAS dot product: bounds the rounding error of float32 sums.
_DOT_ENTRIES = 2**16


def scale_rows(values, factors):
    """Return the rows times `factors`, a column, in the dtype of `values`."""
    factors = factors.astype(values.dtype, copy=False)
    if isinstance(values, np.ndarray):
        return values * factors
    return values.multiply(factors).tocsr()


def squared_norm(values) -> float:
    """Return the sum of squares of a dense array, in float64 between chunks."""
    flat = values.ravel(order="K")
    return float(
        sum(
            np.dot(part, part).astype(np.float64)
            for part in np.split(flat, range(_DOT_ENTRIES, flat.size, _DOT_ENTRIES))
        )
    )


def check_finite(squares, dtype):
    """Raise ValueError where a sum of squares shows that the data are not finite."""
    if not np.isfinite(squares):
        raise ValueError(
            f"Input X contains NaN, infinity or a value too large to be squared in {dtype}."
        )


def block_moments(block, shift):
    """Return ``[total weight, weighted sum, weighted sum of squares about shift]``."""
    values, weight = block.values, block.weight
    n_rows = values.shape[0]
    total = float(n_rows) if weight is None else float(weight.sum(dtype=np.float64))
    ones = np.ones(n_rows, values.dtype) if weight is None else weight
    sums = (ones @ values).astype(np.float64)
    if weight is None:
        entries = values.data if not isinstance(values, np.ndarray) else values
        squares = squared_norm(entries)
    elif isinstance(values, np.ndarray):
        squares = float(weight @ np.einsum("ij,ij->i", values, values))
    else:
        squares = float(weight @ values.multiply(values).sum(axis=1))
    if shift is not None:
        squares += total * float(shift @ shift) - 2 * float(shift @ sums)
        sums = sums - total * shift
    return [total, sums, squares]


def fold_moments(state, block, shift):
    """Moments of the rows about `shift`, None for the origin."""
    return add_states(state, block_moments(_shifted(block, shift), None))


def _shifted(block, shift):
    """Return the block with `shift`, if any, taken from each row: a block-sized copy."""
    if shift is None:
        return block
    return type(block)(block.start, block.values - shift, block.weight)


def _project_transposed(values, V):
    """Return ``(B V^T)^T``, a view of whichever layout is the faster product."""
    if not isinstance(values, np.ndarray):
        return (values @ V).T
    # OpenBLAS runs this skinny product 1.5 times faster transposed in float64, slower
    # in float32.
    return V @ values.T if values.dtype == np.float64 else (values @ V.T).T


def fold_projected_gram(state, block, V, offset):
    """``[Y^T Y]`` with ``Y = B V^T - offset``: half of a fused Gram product."""
    Yt = _project_transposed(block.values, V)
    Yt -= offset[:, np.newaxis]
    weighted = Yt if block.weight is None else Yt * block.weight
    return add_states(state, [(weighted @ Yt.T).astype(np.float64)])


def fold_gram_product(state, block, V, offset, shift, explicit, moments):
    """Fused Gram product: ``Z += Y^T B``, ``G += Y^T Y`` with ``Y = B V^T - offset``.

    Reads the block once. `offset` is ``V shift``; with `explicit` the block itself is
    shifted instead, which costs a copy of the block and saves cancellation when the mean
    is much larger than the standard deviation. With `moments`, those ride along.

    State: ``[Z, G, sum of Y's rows]`` and the three moments about the shift.
    """
    if explicit:
        block = _shifted(block, shift)
    values, weight = block.values, block.weight
    dense = isinstance(values, np.ndarray)
    Yt = _project_transposed(values, V)
    if not explicit:
        Yt -= offset[:, np.newaxis]
    weighted = Yt if weight is None else Yt * weight
    part = [
        weighted @ values if dense else values.T @ weighted.T,
        (weighted @ Yt.T).astype(np.float64),
        weighted.sum(axis=1, dtype=np.float64),
    ]
    if moments:
        part += block_moments(block, None if explicit else shift)
    return add_states(state, part)


def fold_gram(state, block, shift):
    """Gram matrix and moments about `shift`: ``[B^T B, *moments]``.

    Dense blocks are shifted by a copy; for sparse ones the caller corrects the product,
    which is taken about the origin.
    """
    values, weight = block.values, block.weight
    if isinstance(values, np.ndarray):
        block = _shifted(block, shift)
        values = block.values
        # numpy halves the work of a product of an array with itself.
        scaled = values if weight is None else scale_rows(values, weight[:, np.newaxis])
        gram = values.T @ scaled
        moments = block_moments(block, None)
    else:
        scaled = values if weight is None else scale_rows(values, weight[:, np.newaxis])
        gram = np.asarray((values.T @ scaled).todense())
        moments = block_moments(block, shift)
    if state is None:
        return [gram.astype(np.float64), *moments]
    return add_states(state, [gram, *moments])


def fold_sketch(state, block, sketch, shift):
    """Sketch of the rows and of a column of ones, and moments, about `shift`."""
    block = _shifted(block, shift)
    values = block.values
    ones = np.ones((values.shape[0], 1))
    if block.weight is not None:
        ones = np.sqrt(block.weight.astype(np.float64))[:, np.newaxis]
        values = scale_rows(values, ones)
    part = [
        sketch.apply(values, block.start),
        sketch.apply(ones, block.start),
        *block_moments(block, None),
    ]
    return add_states(state, part)


def fold_qr(state, block, V, offset, mean):
    """Triangular factor of ``A V^T`` (of ``A`` itself where V is None) by TSQR.

    Householder QR of each block stacked under the factor so far: backward stable, unlike
    the Gram matrix, whose rounding errors are relative to the largest singular value
    squared.
    """
    values = block.values
    if V is None:
        Y = values - mean if isinstance(values, np.ndarray) else values.toarray() - mean
    else:
        Y = values @ (V.T if isinstance(values, np.ndarray) else V) - offset
    Y = Y.astype(np.float64, copy=False)
    if block.weight is not None:
        Y = Y * np.sqrt(block.weight)[:, np.newaxis]
    return stack_qr(state, Y)


def stack_qr(upper, lower):
    """Return the triangular factor of `upper` stacked on `lower`."""
    stacked = lower if upper is None else np.concatenate([upper, lower])
    if not stacked.shape[1]:
        # scipy would make the square Q of as many rows, only to drop it.
        return stacked[:0]
    return scipy.linalg.qr(stacked, mode="r", overwrite_a=True, check_finite=False)[0][
        : stacked.shape[1]
    ]


def project(values, Vt, offset):
    """Return ``B V^T - offset``, the block in the coordinates of the rows of V."""
    return values @ Vt - offset


def take_columns(values, indices):
    """Return columns of a block, as a dense array."""
    return _dense_rows(values[:, indices])


def fold_interpolation(state, block, indices, inverse, keep):
    """Fold the normal equations for A in the columns ``Q = A[:, indices] inverse``.

    State: ``[Q^T Q, Q^T A, squared norm of A, blocks of A[:, indices]]``, the last empty
    unless `keep`.
    """
    values = block.values
    columns = values[:, indices]
    Q = _dense_rows(columns).astype(np.float64) @ inverse
    Qt = np.ascontiguousarray(Q.T, dtype=values.dtype)
    is_dense = isinstance(values, np.ndarray)
    part = [
        Q.T @ Q,
        (Qt @ values if is_dense else (values.T @ Qt.T).T).astype(np.float64),
        squared_norm(values if is_dense else values.data),
        [columns] if keep else [],
    ]
    return add_states(state, part)


def fold_pivot_rows(state, block, inverse):
    """Tournament of rows of ``Q = C inverse``, for blocks of C: ``[indices, rows]``.

    The rows that LU with partial pivoting takes from a block are candidates; those
    that it takes from two lots of candidates go on (Grigori, Demmel & Xiang 2011).
    """
    Q = np.asarray(take_columns(block.values, slice(None)), np.float64) @ inverse
    indices = block.start + np.arange(len(Q))
    return pivot_rows(state, pivot_rows(None, [indices, Q]))


def pivot_rows(left, right):
    """Return the winners of two lots of candidates, ``[indices, rows]``, in order."""
    if left is not None:
        right = [np.concatenate(pair) for pair in zip(left, right, strict=True)]
    indices, rows = right
    if not len(indices):
        return right
    winners = lu_pivots(rows)
    return [indices[winners], rows[winners]]


def lu_pivots(A):
    """Return the rows of A that LU with partial pivoting takes, in order."""
    # The driver would warn of a singular factor; pivots are all that is wanted.
    _, swaps, _ = scipy.linalg.lapack.dgetrf(A)
    order = np.arange(len(A))
    for i, j in enumerate(swaps):
        order[[i, j]] = order[[j, i]]
    return order[: min(A.shape)]


def fold_products(state, block, Y):
    """Products of the columns of B with those of Y: ``[B^T Y]``, float64."""
    rows = slice(block.start, block.start + block.values.shape[0])
    part = block.values.T @ Y[rows].astype(block.values.dtype, copy=False)
    return add_states(state, [np.asarray(part, dtype=np.float64)])


def fold_squared_products(state, block, V):
    """Squared norms of the columns of ``B V``: ``[(l,)]``."""
    Y = np.asarray(block.values @ V, dtype=np.float64)
    return add_states(state, [np.einsum("ij,ij->j", Y, Y)])


def _dense_rows(values):
    return values if isinstance(values, np.ndarray) else values.toarray()


def _double_rows(block, shift):
    """Return the rows less `shift`, if any, which makes them dense, in float64."""
    values = block.values
    if shift is not None:
        values = _dense_rows(values) - shift
    return values.astype(np.float64, copy=False)


def _root_weight(block):
    """Return the square roots of the weights, a column; None where all are one."""
    if block.weight is None:
        return None
    return np.sqrt(block.weight.astype(np.float64))[:, np.newaxis]


def fold_sketch_with_targets(state, block, sketch, shift, Y):
    """Sketch of the rows about `shift`, and of a column of ones and targets, in float64.

    State: ``[S W^(1/2) B, S W^(1/2) [1, Y], total weight, weighted sum of rows]``.
    """
    values, root = _double_rows(block, shift), _root_weight(block)
    n, p = values.shape
    Y = Y[block.start : block.start + n]
    others = np.concatenate([np.ones((n, 1)), Y], axis=1)
    total, sums = _weighted_sum(values, block.weight)
    if root is not None:
        values, others = scale_rows(values, root), others * root
    if isinstance(values, np.ndarray):
        # One product: the columns of the sketch are drawn once.
        both = sketch.apply(np.concatenate([values, others], axis=1), block.start)
        part = [both[:, :p], both[:, p:]]
    else:
        part = [sketch.apply(values, block.start), sketch.apply(others, block.start)]
    return add_states(state, [*part, total, sums])


def _weighted_sum(values, weight):
    """Return the total weight and the weighted sum of the rows, in float64."""
    n = values.shape[0]
    weight = np.ones(n) if weight is None else weight.astype(np.float64)
    return float(weight.sum()), weight @ values


def fold_normal_equations(state, block, W, shift, Y):
    """``F^T F`` and ``F^T Y`` of ``F = B W``, for rows B about `shift`, in float64.

    W is None for the rows themselves. Sparse blocks are made dense, one at a time. State:
    ``[F^T F, F^T Y, total weight, weighted sum of F's rows]``.
    """
    F, root = _dense_rows(_double_rows(block, shift)), _root_weight(block)
    Y = Y[block.start : block.start + len(F)]
    F = F if W is None else F @ W
    total, sums = _weighted_sum(F, block.weight)
    if root is not None:
        F, Y = F * root, Y * root
    # numpy halves the work of a product of an array with itself.
    return add_states(state, [F.T @ F, F.T @ Y, total, sums])


def fold_gradient(state, block, C, offset, shift, Y):
    """``[B^T R, sum of R's rows, squares of R]`` of ``R = W (Y - B C + offset)``.

    Reads the block once. With Y None, ``R = W (B C - offset)``: a product with the
    Gram matrix. `shift` is taken from the rows of dense blocks, a copy of the block.
    """
    values = _double_rows(block, shift)
    R = values @ C
    R -= offset
    if Y is not None:
        np.subtract(Y[block.start : block.start + len(R)], R, out=R)
    weighted = R if block.weight is None else R * block.weight[:, np.newaxis]
    part = [
        values.T @ weighted,
        weighted.sum(axis=0),
        np.einsum("ij,ij->j", weighted, R),
    ]
    return add_states(state, part)
