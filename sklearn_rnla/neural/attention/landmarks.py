"""Landmarks of attention: averages of tokens that follow, or resemble, each other."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..._random import stream
from ..._typing import Indices
from ...linalg.nystroem.pivoted_cholesky import ElectedPivots, pivoted_cholesky
from ...operators import Kernel, KernelMatrix
from ..arrays import is_tensor, to_numpy

# Steps of Lloyd's algorithm, from segment means.
_LLOYD_STEPS = 5


class LandmarkTokens(NamedTuple):
    """Landmark queries and keys.

    Attributes
    ----------
    q, k : array of shape (..., m, d)
    valid_q, valid_k : array of bool, broadcast to (..., m), or None
        Which of them there are; None where all are.
    """

    q: object
    k: object
    valid_q: object = None
    valid_k: object = None


class Segments:
    """A partition of the valid tokens into runs, of lengths that differ by at most one.

    Parameters
    ----------
    tokens : array of bool of shape (..., n) or None
        Which are valid; None where all are.
    n, m : int
        Tokens and segments. Where fewer than m tokens are valid, each is a segment, and
        others are empty.
    space : NumpyArrays or Tensors
    like : array
        What it will be used with.
    """

    def __init__(self, tokens: Any, n: Any, m: int, space: Any, like: Any) -> None:
        self.n_segments = m
        self._space = space
        self._even = tokens is None and n % m == 0
        self.valid: Any = None
        if self._even:
            return
        if tokens is None:
            tokens = space.xp.ones_like(space.arange(n, like), dtype=bool)
            tokens = tokens.reshape((1,) * (like.ndim - 2) + (n,))
        count = tokens.sum(-1)[..., None]
        # Token r of c is in segment floor(r m / c).
        edges = -(-space.arange(m + 1, like) * count // m)
        position = edges[..., :-1, None] + space.arange(-(-n // m), like)
        self._present = position < edges[..., 1:, None]
        position = position.clip(0, n - 1).reshape(*count.shape[:-1], -1)
        self._table = space.at(space.true_first(tokens), position)
        valid = self._present.any(-1)
        if space.traced or not valid.all():
            self.valid = valid

    def means(self, x: Any) -> Any:
        """Return averages of the rows of x, of shape (..., n, d), over each segment."""
        *lead, _, d = x.shape
        if self._even:
            return x.reshape(*lead, self.n_segments, -1, d).mean(-2)
        rows = self._space.take_rows(x, self._table)
        rows = rows.reshape(*lead, self.n_segments, -1, d) * self._present[..., None]
        return rows.sum(-2) / self._present.sum(-1)[..., None].clip(1)


def segment_means(segments: Segments, q: Any, k: Any) -> LandmarkTokens:
    """Return the averages of consecutive tokens (Xiong et al. 2021, section 4).

    Parameters
    ----------
    segments : Segments
    q, k : array of shape (..., n, d)

    Returns
    -------
    LandmarkTokens
    """
    valid = segments.valid
    return LandmarkTokens(segments.means(q), segments.means(k), valid, valid)


def cluster_means(
    space: Any, segments: Segments, q: Any, k: Any, tokens: Any
) -> LandmarkTokens:
    """Return centres of k-means of the queries, and of the keys.

    A few steps of Lloyd's algorithm, of ``2 n m d`` flops each and as many for the
    averages, from segment means.

    Parameters
    ----------
    space : NumpyArrays or Tensors
    segments : Segments
    q, k : array of shape (..., n, d)
    tokens : array of bool, broadcast to (..., n), or None

    Returns
    -------
    LandmarkTokens
    """
    found = segment_means(segments, q, k)
    for _ in range(_LLOYD_STEPS):
        found = _resembling(space, found, q, k, tokens)
    return found


def pivot_means(
    space: Any, q: Any, k: Any, tokens: Any, m: int, scale: float, seed: int
) -> LandmarkTokens:
    """Return averages of the tokens around pivots of randomly pivoted Cholesky.

    Of ``exp(-scale |x - y|^2 / 2)``, which is the kernel of attention with each token's
    norm taken out, for queries and keys. The same random numbers serve all matrices.

    Parameters
    ----------
    space : NumpyArrays or Tensors
    q, k : array of shape (..., n, d)
    tokens : array of bool, broadcast to (..., n), or None
    m : int
    scale : float
    seed : int

    Returns
    -------
    LandmarkTokens
        Fewer are valid where the kernel has lower rank.

    Raises
    ------
    ValueError
        When tensors are traced.
    """
    if space.traced:
        raise ValueError(
            "landmarks='rpcholesky' are chosen by numpy, which torch cannot compile, "
            "export, trace or map: use 'segment-means' or 'kmeans'."
        )
    queries, valid_q = _pivots(space, q, tokens, m, scale, stream(seed, 0))
    keys, valid_k = _pivots(space, k, tokens, m, scale, stream(seed, 1))
    found = LandmarkTokens(
        space.take_rows(q, queries), space.take_rows(k, keys), valid_q, valid_k
    )
    return _resembling(space, found, q, k, tokens)


def given_tokens(
    space: Any, indices: Indices, q: Any, k: Any, tokens: Any
) -> LandmarkTokens:
    """Return the tokens of given indices.

    Parameters
    ----------
    space : NumpyArrays or Tensors
    indices : ndarray of int, broadcast to (..., m)
    q, k : array of shape (..., n, d)
    tokens : array of bool, broadcast to (..., n), or None

    Returns
    -------
    LandmarkTokens

    Raises
    ------
    ValueError
        When those of a sequence are all padding.
    """
    lead = (1,) * (q.ndim - 1 - indices.ndim)
    table = space.constant(indices.reshape(*lead, *indices.shape), q)
    valid = None
    if tokens is not None:
        valid = space.at(tokens, table)
        if not (space.traced or valid.any(-1).all()):
            raise ValueError("landmarks of one of the sequences are all padding.")
    return LandmarkTokens(
        space.take_rows(q, table), space.take_rows(k, table), valid, valid
    )


def _resembling(space, found, q, k, tokens):
    """Return averages of the tokens that are nearest to each landmark."""

    def means(x, centers, valid):
        valid = None if valid is None else valid[..., None, :]
        return space.each(partial(_nearest_means, space), x, centers, valid, rows)

    rows = None if tokens is None else tokens[..., None]
    return found._replace(
        q=means(q, found.q, found.valid_q), k=means(k, found.k, found.valid_k)
    )


def _nearest_means(space, x, centers, valid, tokens):
    """Return averages of the rows nearest to each centre; of none, the centre.

    Parameters
    ----------
    space : NumpyArrays or Tensors
    x : array of shape (..., n, d)
    centers : array of shape (..., m, d)
    valid : array of bool of shape (..., 1, m) or None
    tokens : array of bool of shape (..., n, 1) or None

    Returns
    -------
    array of shape (..., m, d)
    """
    xp = space.xp
    nearness = x @ centers.swapaxes(-1, -2) - (centers * centers).sum(-1)[..., None, :] / 2
    if valid is not None:
        nearness = xp.where(valid, nearness, -np.inf)
    numbers = space.arange(centers.shape[-2], x)
    belongs = nearness.argmax(-1)[..., None] == numbers
    if tokens is not None:
        belongs = belongs & tokens
    belongs = space.cast(belongs, x.dtype)
    sizes = belongs.sum(-2)[..., None]
    means = belongs.swapaxes(-1, -2) @ x / sizes.clip(1)
    return xp.where(sizes > 0, means, centers)


def _pivots(space, x, tokens, m, scale, rng):
    """Return indices of pivots of each matrix, and which of them there are.

    The generator is copied for each matrix.
    """
    rows = to_numpy(x, "x")
    *lead, n, _ = rows.shape
    if tokens is not None:
        tokens = np.broadcast_to(tokens.cpu() if is_tensor(tokens) else tokens, (*lead, n))
    indices = np.zeros((*lead, m), dtype=np.int64)
    valid = np.zeros((*lead, m), dtype=bool)
    state = rng.bit_generator.state
    for matrix in np.ndindex(*lead):
        candidates = np.arange(n) if tokens is None else np.flatnonzero(tokens[matrix])
        chosen = candidates
        # Few tokens are in the places that they have as segments.
        places = np.arange(len(chosen)) * m // max(1, len(chosen))
        if len(candidates) > m:
            rng.bit_generator.state = state
            X = np.ascontiguousarray(rows[matrix][candidates])
            A = KernelMatrix(Kernel("rbf", {"gamma": scale / 2}), X)
            # In the order of the tokens: small changes of them change no choice.
            chosen = pivoted_cholesky(A, m, partial(ElectedPivots, rng)).pivots
            chosen = np.sort(candidates[chosen])
            places = np.arange(len(chosen))
        indices[matrix][places] = chosen
        valid[matrix][places] = True
    return space.constant(indices, x), space.constant(valid, x)
