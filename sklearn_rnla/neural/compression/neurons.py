"""Neurons that stand for all others of a hidden layer."""

from numbers import Integral
from typing import Literal, NamedTuple

import numpy as np

from ..._sklearn import StrOptions, validated
from ..._typing import Float, Tensor
from ...linalg.dense.pivoting import pivot_columns
from ...linalg.dense.rank import rounding_of
from ...operators.scaling import scale_of
from ..arrays import like, to_numpy
from .inputs import moments_of
from .layer import NUMBER_OR_SHARE, RIDGE, check_bias

# The default ridge, in units of ``n_neurons / n_samples``. A compromise: a transformer
# wants five times as much, a small network on many samples none.
_RIDGE = 0.1

CRITERION = [StrOptions({"outputs", "activations"})]


class NeuronSubset(NamedTuple):
    """Two layers with fewer neurons between them.

    Attributes
    ----------
    indices : ndarray of shape (k,)
        Indices of the neurons that are kept, in increasing order.
    W_in : ndarray or tensor of shape (k, n_in)
        Their rows of the first matrix.
    bias_in : ndarray, tensor or None of shape (k,)
        Their entries of the first bias.
    W_out : ndarray or tensor of shape (n_out, k)
        The second matrix, into which the effect of the other neurons is folded.
    bias_out : ndarray, tensor or None of shape (n_out,)
        The second bias, into which the means of the other neurons are folded.
    error : float
        Relative error of the outputs ``H W_out^T`` of the second layer, in the Frobenius
        norm. With a bias, both norms are about the mean.

    See Also
    --------
    select_neurons : Returns it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import select_neurons
    >>> H = np.random.default_rng(0).random((100, 20))
    >>> found = select_neurons(np.ones((20, 5)), np.ones((3, 20)), H, 8)
    >>> found.indices.shape, found.W_in.shape, found.W_out.shape
    ((8,), (8, 5), (3, 8))
    """

    indices: np.ndarray
    W_in: np.ndarray
    bias_in: np.ndarray | None
    W_out: np.ndarray
    bias_out: np.ndarray | None
    error: float


class Hidden:
    """Neurons between two layers: how they depend on one another, and what they do.

    Parameters
    ----------
    moments : InputMoments
        Of the activations H.
    W_out : ndarray of shape (n_out, n_neurons)
        In float64.
    center : bool
        Whether a bias can take up means.
    criterion : {"outputs", "activations"}
        What chosen neurons are to span: the outputs ``H W_out^T``, or H.
    ridge : float or None
        As of `select_neurons`.
    """

    def __init__(self, moments, W_out, center, criterion, ridge):
        # Choices and relative errors depend on no scale, but squares may overflow.
        self.W_out = W_out / scale_of(W_out)
        self.mean = moments.mean if center else None
        self.second = moments.second(center)
        h = len(self.second)
        ridge = _RIDGE * h / moments.count if ridge is None else ridge
        values, vectors = np.linalg.eigh(self.second)
        values = np.maximum(values, 0.0) + ridge * np.trace(self.second) / h
        # ``B^T B`` is the matrix of second moments, and the ridge.
        self.B = np.sqrt(values)[:, np.newaxis] * vectors.T
        self.outputs = self.B @ self.W_out.T
        kept = self.outputs if criterion == "outputs" else self.B
        self.target = kept @ kept.T

    def best(self, k) -> np.ndarray:
        """Return k neurons or fewer, the best first.

        Those that neurons chosen before determine, up to what second moments can tell,
        are left out, but for one.
        """
        # Eigenvalues are accurate relative to the largest, and so is each column's norm.
        rounding = np.sqrt(rounding_of(self.B.shape)) * np.linalg.norm(self.B, axis=0).max()
        found = pivot_columns(self.B, k, target=self.target, rounding=rounding)
        return found.indices if len(found.indices) else np.zeros(1, dtype=np.intp)

    def interpolation(self, kept) -> np.ndarray:
        """Return Z of ``H ~ H[:, kept] Z``, by least squares."""
        # Of neurons that are independent: but for a single one, which may be zero.
        Z = np.linalg.lstsq(self.B[:, kept], self.B, rcond=None)[0]
        Z[:, kept] = np.eye(len(kept))
        return Z

    def lost(self, kept):
        """Return the relative error of the outputs on the activations."""
        D = self.W_out.copy()
        D[:, kept] -= self.W_out @ self.interpolation(kept).T
        error, norm = (np.sum((V @ self.second) * V) for V in (D, self.W_out))
        return float(np.sqrt(max(error, 0.0) / norm)) if norm > 0 else 0.0

    def errors(self, indices) -> np.ndarray:
        """Return the relative errors of the outputs with the first 0, 1, ... of some."""
        Q = np.linalg.qr(self.B[:, indices])[0]
        gained = np.cumsum([0.0, *np.square(Q.T @ self.outputs).sum(axis=1)])
        total = np.square(self.outputs).sum()
        left = np.maximum(total - gained, 0.0)
        return np.sqrt(left / total) if total > 0 else np.zeros_like(left)

    def shift(self, kept, Z) -> np.ndarray:
        """Return the means of all neurons, less what those kept say they are."""
        return self.mean - self.mean[kept] @ Z


@validated(n=NUMBER_OR_SHARE, criterion=CRITERION, ridge=RIDGE)
def select_neurons(
    W_in: Tensor,
    W_out: Tensor,
    activations: Tensor,
    n: Float,
    *,
    bias_in: Tensor | None = None,
    bias_out: Tensor | None = None,
    criterion: Literal["outputs", "activations"] = "outputs",
    ridge: Float | None = None,
) -> NeuronSubset:
    """Keep some neurons of a hidden layer, and fold the others into the next.

    Parameters
    ----------
    W_in : array-like or tensor of shape (n_neurons, ...)
        Weights that make the neurons: a matrix as in torch, or filters of a convolution.
    W_out : array-like or tensor of shape (n_out, n_neurons, ...)
        Weights that read the neurons. Further dimensions are those of a filter, all entries
        of which are changed in the same way.
    activations : array-like or tensor of shape (..., n_neurons)
        Values H of the neurons after the activation function, as W_out reads them.
    n : int or float
        How many neurons to keep, as a number or as a fraction in (0, 1]. With ``ridge=0``,
        fewer are kept if they determine the others.
    bias_in : array-like or tensor of shape (n_neurons,), default=None
        Bias of the first layer.
    bias_out : array-like or tensor of shape (n_out,), default=None
        Bias of the second layer. If given, the means of removed neurons are folded into it,
        so that constant neurons cost nothing.
    criterion : {"outputs", "activations"}, default="outputs"
        What the chosen neurons are to reproduce: the outputs ``H W_out^T``, or H itself.
    ridge : float, default=None
        Number added to the diagonal of the activations' second moments, relative to the
        mean of that diagonal, as if each neuron had noise of its own. None means
        ``n_neurons / (10 n_samples)``, and 0 least squares on these samples.

    Returns
    -------
    NeuronSubset
        The named tuple ``(indices, W_in, bias_in, W_out, bias_out, error)``, with arrays
        like those given.

    Raises
    ------
    ValueError
        If `n` exceeds the number of neurons, if an array has NaN or infinity, or if shapes
        do not match.
    TypeError
        If an array does not hold real numbers.

    See Also
    --------
    low_rank_factorize : Keeps mixtures of neurons instead.
    sklearn_rnla.linalg.interpolative : Decomposes any matrix in this way.

    Notes
    -----
    This is an interpolative decomposition of the activations, ``H ~ H[:, J] Z``, after
    which ``W_out Z^T`` takes the place of W_out [1]_. The columns J are chosen greedily:
    each step adds the neuron that explains most of what is left of the outputs, by
    orthogonal least squares [2]_, where [1]_ pivots on H. Without a ridge this fails if
    there are hardly more samples than neurons. Everything is computed from the second
    moments of H: ``n_samples n_neurons^2`` flops for these, and ``4 k n_neurons^2`` for k
    neurons.

    References
    ----------
    .. [1] Chee, J., Flynn, M., Damle, A., & De Sa, C. (2022). Model preserving compression
       for neural networks. NeurIPS 35.
    .. [2] Farahat, A. K., Elgohary, A., Ghodsi, A., & Kamel, M. S. (2015). Greedy column
       subset selection for large-scale data sets. Knowledge and Information Systems
       45(1), 1-34.

    Examples
    --------
    The third neuron is the sum of the others:

    >>> import numpy as np
    >>> from sklearn_rnla import select_neurons
    >>> H = np.random.default_rng(0).random((50, 2)) @ [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    >>> found = select_neurons(np.eye(3), np.ones((1, 3)), H, 2, ridge=0)
    >>> bool(found.error < 1e-6), found.W_out.shape
    (True, (1, 2))
    """
    inward = to_numpy(W_in, "W_in")
    outward = to_numpy(W_out, "W_out")
    for name, W in {"W_in": inward, "W_out": outward}.items():
        if W.ndim < 2:
            raise ValueError(
                f"{name} has shape {W.shape}, but at least 2 dimensions are expected."
            )
    h = len(inward)
    if outward.shape[1] != h:
        raise ValueError(f"W_out reads {outward.shape[1]} neurons, but W_in makes {h}.")
    old_in = check_bias(bias_in, "bias_in", h)
    old_out = check_bias(bias_out, "bias_out", len(outward))
    k = count_of(n, h)
    moments = moments_of(activations, "activations", h)
    # A row for each output and place in a filter.
    stacked = np.moveaxis(outward, 1, -1).reshape(-1, h).astype(np.float64)
    hidden = Hidden(moments, stacked, bias_out is not None, criterion, ridge)
    kept = np.sort(hidden.best(k))
    Z = hidden.interpolation(kept)
    new_out = np.moveaxis(np.moveaxis(outward.astype(np.float64), 1, -1) @ Z.T, -1, 1)
    new_bias = None
    if bias_out is not None:
        lost = outward.reshape(len(outward), h, -1).sum(axis=2) @ hidden.shift(kept, Z)
        new_bias = like(old_out + lost, bias_out)
    return NeuronSubset(
        kept,
        like(inward[kept], W_in),
        None if bias_in is None else like(old_in[kept], bias_in),
        like(new_out, W_out),
        new_bias,
        hidden.lost(kept),
    )


def count_of(n, n_neurons) -> int:
    """Return how many neurons `n` means.

    Raises
    ------
    ValueError
        When they are more than there are.
    """
    if isinstance(n, Integral):
        if n > n_neurons:
            raise ValueError(f"n={n} must be at most n_neurons={n_neurons}.")
        return int(n)
    return max(1, round(n * n_neurons))
