"""Softmax attention on arrays of numpy and on tensors, and what else they do not share.

Attention is written once, over operators, methods and functions of the same name in both
libraries, and over those of `NumpyArrays` and `Tensors`.
"""

import sys
from contextlib import nullcontext
from itertools import product

import numpy as np
import scipy.special
from scipy.ndimage import correlate1d

from ...operators.threads import TILE_BYTES, kernel_jobs, run_lanes, split
from ..arrays import all_finite, is_tensor, like, to_numpy

# Fewest queries of a tile: below that, products run at the speed of memory.
_LEAST_QUERIES = 32

# A log weight that no other lies below: its exponential is zero in either precision.
_EXCLUDED = -1e30


class _Arrays:
    """What is written once, over functions of either library."""

    def take_rows(self, x, indices):
        """Return rows of matrices: x is (..., n, d), and indices (..., r)."""
        return self.take_along(x, indices[..., None], -2)

    def at(self, x, indices):
        """Return entries of each row of x, at indices that broadcast to its rows."""
        lead = np.broadcast_shapes(x.shape[:-1], indices.shape[:-1])
        same = (self.xp.broadcast_to(y, (*lead, y.shape[-1])) for y in (x, indices))
        return self.take_along(*same, -1)


class NumpyArrays(_Arrays):
    """Arrays of numpy: attention by tiles, in the threads of the engine."""

    xp = np
    # Whether the values of arrays are out of sight.
    traced = False

    read = staticmethod(to_numpy)
    give = staticmethod(like)
    take_along = staticmethod(np.take_along_axis)

    def constant(self, a, like):
        """Return an array of booleans or integers for use with `like`."""
        return np.asarray(a)

    def arange(self, n, like):
        """Return 0, 1, ..., n - 1 for use with `like`."""
        return np.arange(n)

    def true_first(self, tokens):
        """Return indices that take what is true to the front, and else keep the order."""
        return np.argsort(~tokens, axis=-1, kind="stable")

    def cast(self, x, dtype):
        """Return `x` in floats of a dtype."""
        return x.astype(dtype, copy=False)

    def convolve(self, v, weights):
        """Return each head's values, (..., h, n, d), convolved along n by (h, width)."""
        out = np.empty_like(v)
        for head, weight in enumerate(weights):
            own = (..., head, slice(None), slice(None))
            correlate1d(v[own], weight, axis=-2, output=out[own], mode="constant")
        return out

    def each(self, function, x, *others):
        """Apply a function to matrices one by one, in threads; see `Tensors.each`."""
        lead = x.shape[:-2]
        arrays = [
            y if y is None else np.broadcast_to(y, (*lead, *y.shape[-2:]))
            for y in (x, *others)
        ]

        def of_matrix(i):
            return function(*(y if y is None else y[i] for y in arrays))

        found = run_lanes(of_matrix, list(np.ndindex(*lead)), kernel_jobs(None))
        found = np.stack(list(found))
        return found.reshape(*lead, *found.shape[1:])

    def identity(self, A):
        """Return the identity that belongs to square matrices."""
        return np.eye(A.shape[-1], dtype=A.dtype)

    def in_full(self, like):
        """Return a context in which nothing is computed in less precision."""
        return nullcontext()

    def pinv(self, A, cutoff):
        """Return pseudo-inverses; smaller singular values count as zero."""
        return np.linalg.pinv(A, rcond=cutoff)

    def softmax(self, S):
        """Return ``exp(S)``, its rows scaled to sum to one."""
        return scipy.special.softmax(S, axis=-1)

    def attend(self, q, k, v, scale, keys=None):
        """Return ``softmax(scale q k^T) v``.

        Parameters
        ----------
        q : array of shape (..., n, d)
        k : array of shape (..., m, d)
        v : array of shape (..., m, d_v)
        scale : float
        keys : array of bool, broadcast to (..., m), default=None
            Which keys there are; in each matrix, one at least.

        Returns
        -------
        array of shape (..., n, d_v)

        Notes
        -----
        ``2 n m (d + d_v)`` flops. The n x m weights exist by tiles.
        """
        lead, (n, m) = q.shape[:-2], (q.shape[-2], k.shape[-2])
        out = np.empty((*lead, n, v.shape[-1]), q.dtype)
        absent = None if keys is None else np.broadcast_to(~keys, (*lead, m))

        def of_tile(task):
            matrix, tile = task
            S = (scale * q[matrix][tile]) @ k[matrix].T
            if absent is not None:
                S[:, absent[matrix]] = _EXCLUDED
            S -= S.max(axis=1, keepdims=True)
            np.exp(S, out=S)
            total = S.sum(axis=1, keepdims=True)
            np.divide(S @ v[matrix], total, out=out[matrix][tile])

        rows = max(_LEAST_QUERIES, TILE_BYTES // (m * q.itemsize))
        tasks = list(product(np.ndindex(*lead), split(n, rows)))
        for _ in run_lanes(of_tile, tasks, kernel_jobs(None)):
            pass
        return out


class Tensors(_Arrays):
    """Tensors of torch: differentiable, on their device, by its fused attention.

    While they are traced (`torch.compile`, `torch.export`, `torch.jit.trace`) or mapped
    (`torch.vmap`), nothing may depend on their values.
    """

    def __init__(self):
        self.xp = torch = sys.modules["torch"]
        self.take_along = torch.take_along_dim
        self.traced = torch.compiler.is_compiling() or (
            torch.jit.is_tracing()
            or torch._C._functorch.peek_interpreter_stack() is not None
        )

    def read(self, x, name):
        """Return `x` in float32 or float64, checked."""
        if not x.is_floating_point():
            raise TypeError(f"{name} must hold floating point numbers, not {x.dtype}.")
        if not x.numel():
            raise ValueError(f"{name} has shape {tuple(x.shape)}: it has no entry.")
        x = x.float() if x.itemsize < 4 else x
        if not (self.traced or all_finite(x)):
            raise ValueError(f"{name} contains NaN or infinity.")
        return x

    def give(self, out, x):
        """Return `out` in the floats that `x` had."""
        return out.to(x.dtype)

    def constant(self, a, like):
        """Return a tensor of booleans or integers for use with `like`."""
        return self.xp.as_tensor(a, device=like.device)

    def arange(self, n, like):
        """Return 0, 1, ..., n - 1 for use with `like`."""
        return self.xp.arange(n, device=like.device)

    def true_first(self, tokens):
        """Return indices that take what is true to the front, and else keep the order."""
        return (~tokens).to(self.xp.uint8).argsort(dim=-1, stable=True)

    def cast(self, x, dtype):
        """Return `x` in floats of a dtype."""
        return x.to(dtype)

    def convolve(self, v, weights):
        """Return each head's values, (..., h, n, d), convolved along n by (h, width)."""
        n_heads, width = weights.shape
        out = self.xp.nn.functional.conv2d(
            v.reshape(-1, *v.shape[-3:]),
            weights[:, None, :, None],
            padding=(width // 2, 0),
            groups=n_heads,
        )
        return out.reshape(v.shape)

    def each(self, function, *arrays):
        """Apply a function to matrices.

        Parameters
        ----------
        function : callable
            Of arrays with any leading dimensions, which it does not mix.
        *arrays : array or None
            Of matching leading dimensions, which may be 1 but for the first.

        Returns
        -------
        array
        """
        return function(*arrays)

    def identity(self, A):
        """Return the identity that belongs to square matrices."""
        return self.xp.eye(A.shape[-1], dtype=A.dtype, device=A.device)

    def in_full(self, like):
        """Return a context in which nothing is computed in less precision."""
        return self.xp.autocast(like.device.type, enabled=False)

    def pinv(self, A, cutoff):
        """Return pseudo-inverses; smaller singular values count as zero."""
        return self.xp.linalg.pinv(A, atol=0.0, rtol=cutoff)

    def softmax(self, S):
        """Return ``exp(S)``, its rows scaled to sum to one."""
        return S.softmax(-1)

    def attend(self, q, k, v, scale, keys=None):
        """Return ``softmax(scale q k^T) v``; see `NumpyArrays.attend`."""
        lead = q.shape[:-2]
        # The fused kernels take four dimensions.
        shape = (1, 1, *lead)[-2:] if len(lead) < 2 else (-1, lead[-1])
        mask = None
        if keys is not None:
            keys = keys.expand(*lead, k.shape[-2])
            mask = keys.reshape(*shape, 1, k.shape[-2])
        q, k, v = (x.reshape(*shape, *x.shape[-2:]) for x in (q, k, v))
        attend = self.xp.nn.functional.scaled_dot_product_attention
        out = attend(q, k, v, attn_mask=mask, scale=scale)
        return out.reshape(*lead, *out.shape[-2:])


def namespace_of(**arrays):
    """Return what computes with all of `arrays`, by name, that are not None.

    Raises
    ------
    TypeError
        Where some are tensors and others are not.
    """
    tensors = [name for name, x in arrays.items() if is_tensor(x)]
    if not tensors:
        return NumpyArrays()
    others = [n for n, x in arrays.items() if not (x is None or is_tensor(x))]
    if others:
        raise TypeError(
            f"{', '.join(tensors)} are torch tensors, but {', '.join(others)} are not."
        )
    return Tensors()


def softmax_between(space, q, k, scale, valid_q, valid_k):
    """Return ``softmax(scale q k^T)``, with zeros where a query or a key is not valid."""
    S = scale * (q @ k.swapaxes(-1, -2))
    if valid_q is None and valid_k is None:
        return space.softmax(S)
    both = valid_q[..., :, None] & valid_k[..., None, :]
    return space.xp.where(both, space.softmax(space.xp.where(both, S, _EXCLUDED)), 0.0)
