"""One budget of parameters, spread over the layers of a network."""

from bisect import bisect_right
from collections.abc import Mapping
from heapq import heappop, heappush
from itertools import count
from numbers import Integral
from typing import NamedTuple

import numpy as np

from ..._sklearn import validated
from ..._typing import Float, Tensor
from .layer import NUMBER_OR_SHARE, RIDGE, Layer, as_given, make_layer


class CompressedLayers(NamedTuple):
    """Layers that were compressed to fit a budget.

    Attributes
    ----------
    factors : dict of str to LowRankFactors or None
        Factors of each layer. None means that the layer is left as it is.
    table : dict of str to list
        One row per layer, ready for `pandas.DataFrame`. The columns are "layer", "n_out",
        "n_in", "rank" (None if the layer is left as it is), "n_parameters",
        "n_parameters_before", "weight_error" and "output_error" (None without
        activations).
    n_parameters : int
        Number of entries of all matrices, at most the budget.
    n_parameters_before : int
        Number of entries of the given matrices.

    See Also
    --------
    compress_layers : Returns it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import compress_layers
    >>> weights = {"first": np.eye(40, 30), "second": np.eye(10, 40)}
    >>> found = compress_layers(weights, 0.5)
    >>> found.n_parameters, found.n_parameters_before
    (750, 1600)
    """

    factors: dict
    table: dict
    n_parameters: int
    n_parameters_before: int


@validated(
    weights=[dict],
    budget=NUMBER_OR_SHARE,
    activations=[dict, None],
    biases=[dict, None],
    relative=["boolean"],
    ridge=RIDGE,
)
def compress_layers(
    weights: Mapping[str, Tensor],
    budget: Float,
    *,
    activations: Mapping[str, Tensor] | None = None,
    biases: Mapping[str, Tensor] | None = None,
    relative: bool = True,
    ridge: Float | None = None,
) -> CompressedLayers:
    """Factor several layers at the ranks that one budget allows.

    Parameters
    ----------
    weights : dict of str to array-like or tensor of shape (n_out, n_in)
        Weight matrices by name, as in torch.
    budget : float or int
        Number of entries that all matrices may have together, as a fraction of the present
        number in (0, 1] or as an absolute number. It must allow rank 1 in every layer.
    activations : dict of str to array-like or tensor of shape (..., n_in), default=None
        Inputs of some or all layers. For these layers, the errors of the outputs count
        rather than those of the weights.
    biases : dict of str to array-like or tensor of shape (n_out,), default=None
        Biases of some or all layers.
    relative : bool, default=True
        Whether the error of a layer counts relative to its norm. If false, layers with
        large weights or large activations count more.
    ridge : float, default=None
        Regularisation of the activations' second moments, see `low_rank_factorize`.

    Returns
    -------
    CompressedLayers
        The named tuple ``(factors, table, n_parameters, n_parameters_before)``.

    Raises
    ------
    ValueError
        If `weights` is empty, if `activations` or `biases` name other layers, if the
        budget is too small, or if shapes do not match.
    TypeError
        If an array does not hold real numbers.

    See Also
    --------
    low_rank_factorize : Compresses a single layer.

    Notes
    -----
    One more rank costs ``n_out + n_in`` entries and removes the square of its singular
    value from the error. Keeping the whole matrix costs all its entries and leaves no
    error. The budget is spent greedily: the step that removes the most error per entry
    comes first, along the convex hull of error over cost of each layer. This minimises the
    sum of squared errors as long as each step fits into what is left of the budget. If one
    does not, its layer continues along the hull of what it can still afford. The whole
    search is then repeated with that step first, and from the same compression of all
    layers, and the best of the results is returned.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import compress_layers
    >>> rng = np.random.default_rng(0)
    >>> smooth = np.outer(rng.standard_normal(30), rng.standard_normal(20))
    >>> rough = rng.standard_normal((30, 20))
    >>> found = compress_layers({"smooth": smooth, "rough": rough}, 0.6)
    >>> found.table["rank"], found.n_parameters
    ([1, None], 650)
    """
    layers = layers_of(weights, activations, biases, ridge)
    spectra = {name: layer.spectrum() for name, layer in layers.items()}
    limit = limit_of(budget, [layer.W.size for layer in layers.values()])
    largest = max(layer.exponent for layer in layers.values())
    options = {}
    for name, layer in layers.items():
        s = spectra[name][1]
        if not relative:
            s = s * 2.0 ** (layer.exponent - largest)
        options[name] = Options.of(layer, s, relative)
    ranks = allot(options, limit)
    factors = dict.fromkeys(layers)
    for name, rank in ranks.items():
        if rank is not None:
            found = layers[name].factors(spectra[name][0][:, :rank])
            bias = (biases or {}).get(name)
            factors[name] = as_given(found, weights[name], bias)
    shapes = {name: layer.W.shape for name, layer in layers.items()}
    seen = {name for name, layer in layers.items() if layer.second is not None}
    table = table_of(shapes, factors, seen)
    return CompressedLayers(
        factors, table, sum(table["n_parameters"]), sum(table["n_parameters_before"])
    )


def layers_of(weights, activations, biases, ridge) -> dict:
    """Return a `Layer` for each name, checked.

    Raises
    ------
    ValueError, TypeError
        When there is none, a name is unknown, or an array does not fit.
    """
    if not weights:
        raise ValueError("weights={} is empty, but must have at least one layer.")
    for title, given in {"activations": activations, "biases": biases}.items():
        unknown = [name for name in given or {} if name not in weights]
        if unknown:
            raise ValueError(
                f"{title} names {unknown[0]!r}, but weights has only "
                f"{', '.join(map(repr, weights))}."
            )
    activations, biases = activations or {}, biases or {}
    return {
        name: make_layer(W, activations.get(name), biases.get(name), ridge, str(name))
        for name, W in weights.items()
    }


def limit_of(budget, sizes) -> int:
    """Return a budget as a number of entries."""
    if isinstance(budget, Integral):
        return int(budget)
    return int(budget * sum(sizes) * (1 + np.finfo(np.float64).eps))


class Options(NamedTuple):
    """What a layer may be replaced by: costs, increasing, and errors, decreasing.

    Attributes
    ----------
    costs : ndarray of shape (n,)
        Entries at rank 1, 2, ... while fewer than the matrix has, and those of the matrix.
    errors : ndarray of shape (n,)
        Squared; 0 at last.
    """

    costs: np.ndarray
    errors: np.ndarray

    @classmethod
    def of(cls, layer: Layer, s, relative):
        """Return the options of a layer whose outputs have singular values `s`."""
        each, size = sum(layer.W.shape), layer.W.size
        # Of the same sums, so that errors decrease down to zero.
        tails = np.append(np.cumsum(s[::-1] ** 2)[::-1], 0.0)
        # What a Gram matrix cannot tell from rounding.
        tails[tails < np.finfo(np.float64).eps * tails[0]] = 0.0
        if relative and tails[0] > 0:
            tails = tails / tails[0]
        ranks = np.arange(1, min(len(s), (size - 1) // each) + 1)
        return cls(np.append(ranks * each, size), np.append(tails[ranks], 0.0))

    def hull(self, start, most):
        """Return the options after `start` on the lower convex hull of error over cost.

        Parameters
        ----------
        start : int
            Where the hull begins.
        most : int
            What options may cost.

        Returns
        -------
        list of int
        """
        kept = [start]
        for i in range(start + 1, int(np.searchsorted(self.costs, most, "right"))):
            # What costs more and is no better is not wanted.
            if self.errors[i] >= self.errors[kept[-1]]:
                continue
            while len(kept) > 1 and self.gain(*kept[-2:]) <= self.gain(kept[-1], i):
                kept.pop()
            kept.append(i)
        return kept[1:]

    def gain(self, i, j):
        """Return the error that option j removes from that of i, for each entry more."""
        return (self.errors[i] - self.errors[j]) / (self.costs[j] - self.costs[i])


def allot(options, limit) -> dict:
    """Choose an option of each layer, for the least sum of errors.

    Parameters
    ----------
    options : dict of str to Options
    limit : int
        Most costs together.

    Returns
    -------
    dict of str to int or None
        The rank; None for the matrix itself.

    Raises
    ------
    ValueError
        When the least costs exceed the limit.
    """
    least = sum(int(found.costs[0]) for found in options.values())
    if limit < least:
        raise ValueError(
            f"budget={limit} must be at least {least}, "
            "the number of entries of rank 1 in every layer."
        )
    first = dict.fromkeys(options, 0)
    chosen, refused = _spend(options, first, limit)
    # What came before a step that was refused may be worth less.
    starts = [_alike(options, limit), first | refused]
    found = [chosen, *(_spend(options, start, limit)[0] for start in starts)]
    chosen = min(found, key=lambda c: _total(options, c, "errors"))
    return {
        name: None if i == len(options[name].costs) - 1 else i + 1
        for name, i in chosen.items()
    }


def _alike(options, limit) -> dict:
    """Return the options of the same compression everywhere, the least within a limit."""
    shares = {name: found.costs / found.costs[-1] for name, found in options.items()}

    def at(share):
        return {
            name: max(int(np.searchsorted(own, share, "right")) - 1, 0)
            for name, own in shares.items()
        }

    steps = np.unique(np.concatenate(list(shares.values())))
    beyond = bisect_right(
        steps, limit, key=lambda share: _total(options, at(share), "costs")
    )
    return at(steps[max(beyond - 1, 0)])


def _total(options, chosen, field):
    return sum(getattr(options[name], field)[i] for name, i in chosen.items())


def _spend(options, chosen, limit):
    """Take the best steps for each entry while they fit.

    Parameters
    ----------
    options : dict of str to Options
    chosen : dict of str to int
        Where to start.
    limit : int
        Most costs together.

    Returns
    -------
    chosen : dict of str to int
    refused : dict of str to int
        The first step that was too long, and would have fitted at the start; or empty.
    """
    chosen, refused = dict(chosen), {}
    left = at_first = limit - _total(options, chosen, "costs")
    # Ties go to the one offered first.
    steps, turn = [], count()

    def offer(name, path):
        if path:
            gain = options[name].gain(chosen[name], path[0])
            heappush(steps, (-gain, next(turn), name, path))

    for name, found in options.items():
        offer(name, found.hull(chosen[name], found.costs[-1]))
    while steps:
        *_, name, path = heappop(steps)
        found, now = options[name], chosen[name]
        cost = int(found.costs[path[0]] - found.costs[now])
        if cost <= left:
            chosen[name] = path[0]
            left -= cost
            offer(name, path[1:])
            continue
        if not refused and found.costs[path[0]] - found.costs[0] <= at_first:
            refused = {name: path[0]}
        # Shorter steps may do.
        offer(name, found.hull(now, found.costs[now] + left))
    return chosen, refused


def table_of(shapes, factors, seen):
    """Return what became of layers, as columns of a table.

    Parameters
    ----------
    shapes : dict of str to tuple of int
    factors : dict of str to LowRankFactors or None
    seen : collection of str
        Layers whose inputs are known.
    """
    rows = []
    for name, (n_out, n_in) in shapes.items():
        found, size = factors[name], n_out * n_in
        row = {
            "layer": name,
            "n_out": n_out,
            "n_in": n_in,
            "rank": None,
            "n_parameters": size,
            "n_parameters_before": size,
            "weight_error": 0.0,
            "output_error": 0.0 if name in seen else None,
        }
        if found is not None:
            row |= {title: getattr(found, title) for title in list(row)[3:]}
        rows.append(row)
    return {title: [row[title] for row in rows] for title in rows[0]}
