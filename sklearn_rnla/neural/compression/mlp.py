"""Smaller networks from those of scikit-learn, without training."""

from bisect import bisect_left
from copy import deepcopy
from typing import Literal

import numpy as np
from scipy.special import expit, softmax
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted

from ..._refusals import refuse_containers
from ..._sklearn import StrOptions, validate_data, validated
from ..._typing import Float, MatrixLike
from .budget import compress_layers, limit_of
from .inputs import InputMoments
from .layer import NUMBER_OR_SHARE, RIDGE
from .neurons import CRITERION, Hidden

_ACTIVATIONS = {
    "identity": lambda Y: Y,
    "logistic": expit,
    "tanh": np.tanh,
    "relu": lambda Y: np.maximum(Y, 0),
    "softmax": lambda Y: softmax(Y, axis=1),
    "exp": np.exp,
}

# What belongs to the training of the network as it was.
_OF_TRAINING = {
    "coefs_",
    "intercepts_",
    "_best_coefs",
    "_best_intercepts",
    "_coef_indptr",
    "_intercept_indptr",
    "_optimizer",
}


def layer_inputs(network, factors, X):
    """Yield the inputs of each layer, and at last the output.

    Parameters
    ----------
    network : MLPClassifier or MLPRegressor
    factors : list of tuple of ndarray
        The matrices of each layer, applied one after another.
    X : ndarray or sparse matrix of shape (n_samples, n_features)
    """
    last = len(factors) - 1
    for i, (matrices, bias) in enumerate(zip(factors, network.intercepts_, strict=True)):
        yield X
        for matrix in matrices:
            X = safe_sparse_dot(X, matrix, dense_output=True)
        kind = network.out_activation_ if i == last else network.activation
        X = _ACTIVATIONS[kind](X + bias)
    yield X


class _Factored:
    """Predicts by products of matrices.

    After `fit`, which trains an ordinary network with `coefs_`, it predicts by those.
    """

    @property
    def partial_fit(self):
        raise AttributeError(
            f"{type(self).__name__} has no partial_fit. Train the original network "
            "further and compress it again, or call fit to train a new one."
        )

    def _fit(self, X, y, **options):
        super()._fit(X, y, **options)
        for name in ("factors_", "compression_"):
            vars(self).pop(name, None)
        return self

    def _forward_pass_fast(self, X, check_input=True):
        if hasattr(self, "coefs_"):
            return super()._forward_pass_fast(X, check_input=check_input)
        X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        for output in layer_inputs(self, self.factors_, X):  # noqa: B007
            pass
        return output


class FactoredMLPClassifier(_Factored, MLPClassifier):
    """An `MLPClassifier` in which some weight matrices are products of two smaller ones.

    Returned by `compress_mlp`. Parameters, attributes and methods are those of
    `sklearn.neural_network.MLPClassifier`, with two exceptions: ``factors_`` takes the
    place of ``coefs_``, and there is no `partial_fit`. Cloning or calling `fit` gives an
    ordinary `MLPClassifier` again.

    Attributes
    ----------
    factors_ : list of tuple of ndarray
        For each layer its matrix, or the two matrices that are applied one after the
        other.
    compression_ : dict of str to list
        What became of each layer, as columns of a table.

    See Also
    --------
    compress_mlp : Makes it from a trained network.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn_rnla import compress_mlp
    >>> X = np.random.default_rng(0).standard_normal((200, 10))
    >>> network = MLPClassifier(50, max_iter=20, random_state=0, tol=10.0)
    >>> small = compress_mlp(network.fit(X, X[:, 0] > 0), 0.5, X)
    >>> [len(matrices) for matrices in small.factors_]
    [2, 1]
    """


class FactoredMLPRegressor(_Factored, MLPRegressor):
    """An `MLPRegressor` in which some weight matrices are products of two smaller ones.

    Returned by `compress_mlp`. It differs from `sklearn.neural_network.MLPRegressor` as
    `FactoredMLPClassifier` does from `sklearn.neural_network.MLPClassifier`.

    Attributes
    ----------
    factors_ : list of tuple of ndarray
        For each layer its matrix, or the two matrices that are applied one after the
        other.
    compression_ : dict of str to list
        What became of each layer, as columns of a table.

    See Also
    --------
    compress_mlp : Makes it from a trained network.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neural_network import MLPRegressor
    >>> from sklearn_rnla import compress_mlp
    >>> X = np.random.default_rng(0).standard_normal((200, 10))
    >>> network = MLPRegressor(
    ...     hidden_layer_sizes=50, max_iter=20, random_state=0, tol=10.0
    ... )
    >>> small = compress_mlp(network.fit(X, X[:, 0]), 0.5, X)
    >>> [len(matrices) for matrices in small.factors_]
    [2, 1]
    """


@validated(
    network=[MLPClassifier, MLPRegressor],
    budget=NUMBER_OR_SHARE,
    X=["array-like", "sparse matrix", None],
    method=[StrOptions({"low_rank", "neurons"})],
    ridge=RIDGE,
    criterion=CRITERION,
)
def compress_mlp(
    network: MLPClassifier | MLPRegressor,
    budget: Float,
    X: MatrixLike | None = None,
    *,
    method: Literal["low_rank", "neurons"] = "low_rank",
    ridge: Float | None = None,
    criterion: Literal["outputs", "activations"] = "outputs",
) -> MLPClassifier | MLPRegressor:
    """Compress a trained network of scikit-learn without retraining it.

    Parameters
    ----------
    network : MLPClassifier or MLPRegressor
        A fitted network. It is not changed.
    budget : float or int
        How many entries all weight matrices together may have, as a fraction of the
        present number in (0, 1] or as an absolute number.
    X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
        Samples that are typical of what the network will see, for example its training
        data; labels are not needed. The error of the outputs on these samples is then
        kept small. If None, which only "low_rank" allows, the error of the weights is.
    method : {"low_rank", "neurons"}, default="low_rank"
        - "low_rank" replaces weight matrices by products of two smaller ones, as
          `compress_layers` does.
        - "neurons" removes hidden neurons, as `select_neurons` does. All layers end up
          with about the same relative error.

    ridge : float, default=None
        Regularisation of the activations' second moments; see `low_rank_factorize` and
        `select_neurons` for its default.
    criterion : {"outputs", "activations"}, default="outputs"
        What "neurons" preserves, see `select_neurons`.

    Returns
    -------
    FactoredMLPClassifier, FactoredMLPRegressor, MLPClassifier or MLPRegressor
        A fitted network. "low_rank" returns a subclass of the class of `network` that
        predicts with ``factors_``; "neurons" returns an ordinary network with smaller
        ``hidden_layer_sizes``. The attribute ``compression_`` is a table of what became
        of each layer.

    Raises
    ------
    ValueError
        If the budget is too small, if the columns of X are not those that the network was
        trained on, or if "neurons" gets no X or finds no hidden layer.
    NotFittedError
        If the network is not fitted.

    See Also
    --------
    compress_layers : Compresses any set of weight matrices.
    select_neurons : Removes neurons between two weight matrices.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn_rnla import compress_mlp
    >>> X, y = load_digits(return_X_y=True)
    >>> network = MLPClassifier(50, max_iter=20, random_state=0, tol=0.1).fit(X, y)
    >>> small = compress_mlp(network, 0.5, X, method="neurons")
    >>> small.hidden_layer_sizes
    (25,)
    """
    check_is_fitted(network)
    if not hasattr(network, "coefs_"):
        raise ValueError(
            "network is factored already: compress the network that it was made from."
        )
    if X is not None:
        refuse_containers(X)
        options = {"accept_sparse": ["csr"], "dtype": [np.float64, np.float32]}
        # Names of columns must be those of the training data, in their order.
        X = validate_data(network, X, reset=False, **options)
    if method == "low_rank":
        return _factored(network, budget, X, ridge)
    if X is None:
        raise ValueError(
            "method='neurons' needs X, samples from whose activations it chooses neurons."
        )
    return _thinned(network, budget, X, criterion, ridge)


def _moments(network, X):
    """Return the moments of the inputs of each layer."""
    inputs = layer_inputs(network, [(W,) for W in network.coefs_], X)
    return [
        InputMoments(W.shape[0]).add(rows)
        for W, rows in zip(network.coefs_, inputs, strict=False)
    ]


def _factored(network, budget, X, ridge):
    found = compress_layers(
        dict(enumerate(W.T for W in network.coefs_)),
        budget,
        activations=None if X is None else dict(enumerate(_moments(network, X))),
        biases=dict(enumerate(network.intercepts_)),
        ridge=ridge,
    )
    classifies = isinstance(network, MLPClassifier)
    new = _copied(network, FactoredMLPClassifier if classifies else FactoredMLPRegressor)
    new.factors_, new.intercepts_ = [], []
    for i, W in enumerate(network.coefs_):
        layer = found.factors[i]
        matrices, bias = (W.copy(),), network.intercepts_[i].copy()
        if layer is not None:
            matrices, bias = (layer.right.T, layer.left.T), layer.bias
        new.factors_.append(tuple(np.ascontiguousarray(part) for part in matrices))
        new.intercepts_.append(bias)
    new.compression_ = found.table
    return new


def _thinned(network, budget, X, criterion, ridge):
    coefs = network.coefs_
    if len(coefs) < 2:
        raise ValueError("method='neurons' needs a hidden layer, but network has none.")
    layers = [
        Hidden(moments, W.T.astype(np.float64), True, criterion, ridge)
        for moments, W in zip(_moments(network, X)[1:], coefs[1:], strict=True)
    ]
    pivots = [layer.best(len(layer.B)) for layer in layers]
    errors = [layer.errors(chosen) for layer, chosen in zip(layers, pivots, strict=True)]
    sizes = _sizes(errors, coefs, limit_of(budget, [W.size for W in coefs]))
    # Of a factored class, which fit made ordinary, the last base is the plain one.
    kind = type(network)
    new = _copied(network, kind.__bases__[-1] if issubclass(kind, _Factored) else kind)
    new.set_params(hidden_layer_sizes=tuple(sizes))
    new.coefs_, new.intercepts_ = [], []
    Z, shift, lost = None, None, []
    for i, (W, bias) in enumerate(zip(coefs, network.intercepts_, strict=True)):
        dtype = W.dtype
        if Z is not None:
            W, bias = Z @ W, bias + shift @ W
        if i < len(layers):
            kept = np.sort(pivots[i][: sizes[i]])
            Z = layers[i].interpolation(kept)
            shift = layers[i].shift(kept, Z)
            lost.append(layers[i].lost(kept))
            W, bias = W[:, kept], bias[kept]
        new.coefs_.append(W.astype(dtype))
        new.intercepts_.append(bias.astype(dtype))
    new.compression_ = {
        "layer": list(range(len(layers))),
        "n_neurons": list(sizes),
        "n_neurons_before": [W.shape[1] for W in coefs[:-1]],
        "output_error": lost,
    }
    return new


def _copied(network, kind):
    """Return a fitted network of another class, without what belongs to training."""
    new = kind(**network.get_params())
    fitted = {k: v for k, v in vars(network).items() if k not in _OF_TRAINING}
    vars(new).update(deepcopy(fitted))
    return new


def _sizes(errors, coefs, limit):
    """Return how many neurons to keep: about the same error in each layer.

    Parameters
    ----------
    errors : list of ndarray
        Relative errors of each hidden layer with 0, 1, ... neurons.
    coefs : list of ndarray
    limit : int
        Most entries of all matrices.

    Raises
    ------
    ValueError
        When one neuron in each layer has more.
    """
    ends = coefs[0].shape[0], coefs[-1].shape[1]

    def entries(sizes):
        widths = np.array([ends[0], *sizes, ends[1]])
        return int(widths[:-1] @ widths[1:])

    def within(tol):
        return [
            min(max(1, int(np.argmax(np.append(e, 0.0) <= tol))), len(e) - 1)
            for e in errors
        ]

    least = entries([1] * len(errors))
    if limit < least:
        raise ValueError(
            f"budget={limit} must be at least {least}, the entries of one neuron in every "
            "hidden layer."
        )
    tols = np.unique(np.concatenate([[0.0], *errors]))
    # The largest leaves one neuron in each layer, which fits.
    least = bisect_left(tols, True, key=lambda tol: entries(within(tol)) <= limit)
    return _filled(within(tols[least]), errors, lambda sizes: entries(sizes) <= limit)


def _filled(sizes, errors, fits):
    """Add neurons where the error is largest, while they fit."""
    grew = True
    while grew:
        grew = False
        for i in np.argsort([-e[k] for e, k in zip(errors, sizes, strict=True)]):
            more = [k + (j == i) for j, k in enumerate(sizes)]
            if more[i] < len(errors[i]) and fits(more):
                sizes, grew = [int(j) for j in more], True
                break
    return sizes
