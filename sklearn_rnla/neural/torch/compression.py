"""Linear and convolutional layers as pairs of smaller ones."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from ..._sklearn import validated
from ..._typing import Float, Int, Seed
from ..arrays import all_finite
from ..compression.budget import compress_layers, table_of
from ..compression.inputs import InputMoments
from ..compression.layer import (
    CRITERIA,
    NUMBER_OR_SHARE,
    RIDGE,
    low_rank_factorize,
    only_one,
    rank_of_compression,
)
from .layers import of_layer, stand_in


class CompressedModel(NamedTuple):
    """A compressed model and a table of what became of its layers.

    Attributes
    ----------
    model : torch.nn.Module
        The model. A compressed layer is a `torch.nn.Sequential` of two smaller layers.
    table : dict of str to list
        One row per layer, as in `CompressedLayers`.

    See Also
    --------
    compress : Returns it.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla.neural.torch import compress
    >>> found = compress(torch.nn.Sequential(torch.nn.Linear(20, 30)), rank=4)
    >>> found.table["layer"], found.table["rank"]
    (['0'], [4])
    """

    model: nn.Module
    table: dict


class LayerPair(nn.Sequential):
    """Two layers in the place of one, for models that also read what that one holds.

    Its sizes, and for a convolution its stride and the like, are attributes.
    """

    # Both properties are in the part of Python that `torch.jit.script` knows.
    @property
    def weight(self) -> torch.Tensor:
        """The weights of one layer: the product, formed each time."""
        first, second = self[0].weight, self[1].weight
        W = second.flatten(1) @ first.flatten(1)
        return W.reshape([W.shape[0]] + list(first.shape[1:]))

    @property
    def bias(self) -> torch.Tensor | None:
        """The bias of one layer, or None."""
        return self[1].bias

    def __setattr__(self, name: str, value: Any) -> None:
        # As where ``tie_weights()`` of a transformer ties its head again.
        if name in ("weight", "bias"):
            raise ValueError(
                f"{name} cannot be set, as a pair of layers stands for one here. To share "
                "it with another module, compress the model without this layer."
            )
        super().__setattr__(name, value)


@validated(
    model=[nn.Module],
    budget=[*NUMBER_OR_SHARE, None],
    **CRITERIA,
    layers=["array-like", str, None],
    inplace=["boolean"],
    relative=["boolean"],
    ridge=RIDGE,
)
def compress(
    model: nn.Module,
    budget: Float | None = None,
    *,
    rank: Int | None = None,
    energy: Float | None = None,
    error: Float | None = None,
    compression: Float | None = None,
    inputs: torch.Tensor | Iterable[Any] | None = None,
    layers: str | Sequence[str] | None = None,
    inplace: bool = False,
    relative: bool = True,
    ridge: Float | None = None,
    random_state: Seed = None,
) -> CompressedModel:
    """Replace linear and convolutional layers by pairs of smaller ones.

    Exactly one of `budget`, `rank`, `energy`, `error` and `compression` must be given. A
    budget is shared out among all layers; the other criteria apply to each layer by itself.
    A layer is left as it is if a pair would have no fewer parameters.

    Parameters
    ----------
    model : torch.nn.Module
        A model that contains `torch.nn.Linear` or `torch.nn.Conv2d` layers. Convolutions
        with several groups are left as they are.
    budget : float or int, default=None
        Number of weights that the layers may have together, as a fraction of the present
        number in (0, 1] or as an absolute number. See `compress_layers`.
    rank : int, default=None
        Largest rank of each pair.
    energy, error, compression : float, default=None
        Criteria for each layer, see `low_rank_factorize`.
    inputs : tensor or iterable, default=None
        Inputs to run the model on. If given, the errors of the layers' outputs on these
        inputs are minimised rather than the errors of the weights. Either a tensor or an
        iterable of batches, each a tensor, a tuple of arguments or a dict of keyword
        arguments. Batches may differ in size.
    layers : str or list of str, default=None
        Names of the layers to compress, as in ``model.named_modules()``. None means all
        layers except those that share their weight with another module: pairs cannot share
        it.
    inplace : bool, default=False
        Whether to change `model` itself rather than a copy.
    relative : bool, default=True
        With a budget, whether the error of a layer counts relative to its norm, see
        `compress_layers`.
    ridge : float, default=None
        Regularisation of the inputs' second moments, see `low_rank_factorize`.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed of the iteration that finds few factors of a large layer, with `rank` or
        `compression`.

    Returns
    -------
    CompressedModel
        The named tuple ``(model, table)``.

    Raises
    ------
    ValueError
        If not exactly one criterion is given or it is out of range; if `layers` names
        something that is no such layer, or there is none; if the model does not call a
        layer when it is run on `inputs`.
    TypeError
        If `inputs` are neither a tensor nor batches of tensors.

    See Also
    --------
    prune_neurons : Removes neurons and channels instead.

    Notes
    -----
    A k x k convolution becomes a k x k convolution with `rank` filters, which has its
    stride, padding and dilation, followed by a 1 x 1 convolution, which has its bias.

    While the model runs on `inputs`, the second moments of each layer's inputs are summed:
    n_in x n_in numbers per layer. Hooks on a layer are moved to the pair.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla.neural.torch import compress
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 10)
    ... )
    >>> found = compress(model, 0.5, inputs=torch.randn(500, 20))
    >>> sum(found.table["n_parameters"]), sum(found.table["n_parameters_before"])
    (450, 900)
    """
    criterion, value = only_one(
        budget=budget, rank=rank, energy=energy, error=error, compression=compression
    )
    model = model if inplace else deepcopy(model)
    chosen = _chosen(model, layers)
    if compression is not None:
        _check_compression(compression, chosen)
    moments = None if inputs is None else _input_moments(model, chosen, inputs)
    weights = {name: _matrix(layer) for name, layer in chosen.items()}
    biases = {name: layer.bias for name, layer in chosen.items() if layer.bias is not None}
    if budget is None:
        found = {
            name: _factors(
                W,
                criterion,
                value,
                activations=(moments or {}).get(name),
                bias=biases.get(name),
                ridge=ridge,
                random_state=random_state,
            )
            for name, W in weights.items()
        }
        shapes = {name: tuple(W.shape) for name, W in weights.items()}
        table = table_of(shapes, found, moments or ())
    else:
        result = compress_layers(
            weights,
            budget,
            activations=moments,
            biases=biases,
            relative=relative,
            ridge=ridge,
        )
        found, table = result.factors, result.table
    for name, factors in found.items():
        if factors is not None:
            _replace(model, name, _pair(chosen[name], factors))
    return CompressedModel(model, table)


def _chosen(model, names):
    """Return the layers to compress, by name."""
    _check_initialized(model)
    found = {
        name: layer
        for name, layer in model.named_modules(remove_duplicate=True)
        if type(layer) in (nn.Linear, nn.Conv2d) and getattr(layer, "groups", 1) == 1
    }
    if not found:
        raise ValueError(
            "model has no torch.nn.Linear, and no torch.nn.Conv2d of one group."
        )
    if "" in found:
        raise ValueError(
            f"model is a layer itself, a {type(model).__name__}, but layers are replaced "
            "inside of a model: pass torch.nn.Sequential(model)."
        )
    if names is None:
        return _of_own_weight(model, found)
    names = [names] if isinstance(names, str) else names
    if not len(names):
        raise ValueError("layers=[] must name at least one layer.")
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ValueError(
            f"layers has {unknown[0]!r}, but must be of {', '.join(map(repr, found))}."
        )
    return {name: found[name] for name in names}


def _check_initialized(model):
    for name, part in model.named_modules():
        if isinstance(part, LazyModuleMixin) and part.has_uninitialized_params():
            raise ValueError(
                f"layer {name!r} has no weight yet. Run the model once, so that lazy "
                "layers get theirs."
            )


def _of_own_weight(model, layers):
    """Return the layers whose weight no other module holds."""
    held = Counter(
        id(value) for part in model.modules() for value in part._parameters.values()
    )
    own = {name: part for name, part in layers.items() if held[id(part.weight)] < 2}
    if not own:
        raise ValueError(
            "model has no layer whose weight is its own, as all share theirs with other "
            "modules. Name the layers to compress by layers."
        )
    return own


def _check_compression(value, layers):
    shapes = [_matrix(layer).shape for layer in layers.values()]
    if not any(rank_of_compression(value, shape) for shape in shapes):
        most = max(m * n / (m + n) for m, n in shapes)
        raise ValueError(
            f"compression={value} must be at most {most:.4g}, which rank 1 of the largest "
            "layer gives."
        )


def _matrix(layer):
    """Return the weights as a matrix of shape (n_out, n_in)."""
    return layer.weight.detach().flatten(1)


def _factors(W, criterion, value, **options):
    """Return the factors of one layer, or None where it is to stay."""
    if criterion == "rank":
        value = min(value, *W.shape)
    elif criterion == "compression" and not rank_of_compression(value, W.shape):
        return None
    found = low_rank_factorize(W, **{criterion: value}, **options)
    return found if found.worthwhile else None


def _pair(layer, factors):
    """Return two layers that do what the factors say."""
    options = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        first = nn.Linear(layer.in_features, factors.rank, bias=False, **options)
        second = nn.Linear(factors.rank, layer.out_features, bias=bias, **options)
    else:
        first = nn.Conv2d(
            layer.in_channels,
            factors.rank,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            bias=False,
            padding_mode=layer.padding_mode,
            **options,
        )
        second = nn.Conv2d(factors.rank, layer.out_channels, 1, bias=bias, **options)
    with torch.no_grad():
        first.weight.copy_(factors.right.reshape(first.weight.shape))
        second.weight.copy_(factors.left.reshape(second.weight.shape))
        if bias:
            second.bias.copy_(factors.bias)
    for part in (first, second):
        part.weight.requires_grad_(layer.weight.requires_grad)
        if part.bias is not None:
            part.bias.requires_grad_(layer.bias.requires_grad)
    pair = LayerPair(first, second)
    for name in layer.__constants__:
        setattr(pair, name, getattr(layer, name))
    return stand_in(pair, layer)


def _replace(model, name, new):
    """Put `new` where `name` is, wherever the model holds the same module."""
    old = model.get_submodule(name)
    for parent in list(model.modules()):
        # Not `named_children`, which names a shared module once.
        for child, module in list(parent._modules.items()):
            if module is old:
                setattr(parent, child, new)
                if isinstance(parent, nn.TransformerEncoderLayer):
                    # Torch then calls the parts, whose weights it would read itself.
                    parent.activation_relu_or_gelu = 0
        if isinstance(parent, nn.TransformerEncoder):
            parent.use_nested_tensor = False


def _input_moments(model, layers, inputs):
    """Return the moments of the inputs of each layer, run on `inputs`."""
    moments = {name: InputMoments(_matrix(x).shape[1]) for name, x in layers.items()}

    def add(name, layer, x):
        rows, width = _rows(layer, x), moments[name].width
        if rows.shape[1] != width:
            raise ValueError(
                f"Its inputs have width {rows.shape[1]}, but it takes {width}."
            )
        moments[name].add(rows)

    watch_inputs(model, layers, inputs, add)
    unused = [name for name, found in moments.items() if not found.count]
    if unused:
        raise ValueError(
            f"inputs never reach layer {unused[0]!r}, which the model does not call. Name "
            "the layers to compress by layers, or leave out inputs."
        )
    return moments


def watch_inputs(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    inputs: torch.Tensor | Iterable[Any],
    function: Callable[..., Any] | None,
) -> Any:
    """Run a model and call ``function(name, layer, x)`` on what layers are given.

    Parameters
    ----------
    model : torch.nn.Module
        Run in evaluation mode, without gradients.
    layers : dict of str to torch.nn.Module
    inputs : tensor or iterable
        As of `compress`.
    function : callable or None
        `x` is the first argument of a layer. None where there are no layers.

    Returns
    -------
    tensor, tuple, list, dict or None
        The first batch, None if there is none.

    Raises
    ------
    TypeError
        When `inputs` are neither a tensor nor batches.
    """
    first = None
    batches = _batches(inputs)
    with _evaluated(model), torch.no_grad(), ExitStack() as hooks:
        for name, layer in layers.items():
            hook = partial(_hook, name, function)
            hooks.enter_context(layer.register_forward_pre_hook(hook, with_kwargs=True))
        for batch in batches:
            first = batch if first is None else first
            _call(model, batch)
    return first


def _call(model, batch):
    if isinstance(batch, Mapping):
        return model(**batch)
    if not isinstance(batch, (tuple, list)):
        return model(batch)
    try:
        return model(*batch)
    except TypeError as error:
        error.add_note("Entries of a batch are arguments of the model: leave out labels.")
        raise


def _batches(inputs):
    """Return an iterable of batches."""
    if isinstance(inputs, (torch.Tensor, Mapping)):
        return [inputs]
    if isinstance(inputs, (str, np.ndarray)) or not isinstance(inputs, Iterable):
        raise TypeError(
            "inputs must be a tensor or batches, each a tensor, tuple or dict, but are a "
            f"{type(inputs).__name__}."
        )
    return inputs


def _hook(name, function, layer, args, kwargs):
    """Call a function on the input of a layer; what a hook returns would be that input."""
    with of_layer(name):
        function(name, layer, args[0] if args else next(iter(kwargs.values())))


@contextmanager
def _evaluated(model):
    """Put a model in evaluation mode, and each part back as it was."""
    modes = [(part, "training", part.training) for part in model.modules()]
    # Padded tokens would be left out by tensors that are not of one shape.
    nested = [
        (part, "use_nested_tensor", part.use_nested_tensor)
        for part in model.modules()
        if isinstance(part, nn.TransformerEncoder)
    ]
    try:
        model.eval()
        for encoder, name, _ in nested:
            setattr(encoder, name, False)
        yield
    finally:
        for before in modes + nested:
            setattr(*before)


def _rows(layer, x):
    """Return what the matrix of a layer is multiplied with, as rows."""
    x = floats(x)
    if isinstance(layer, nn.Conv2d):
        x = x.reshape(-1, *x.shape[-3:])
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        x = nn.functional.unfold(x, layer.kernel_size, layer.dilation, stride=layer.stride)
        x = x.transpose(1, 2)
    return x.reshape(-1, x.shape[-1]).cpu().numpy()


def floats(x: torch.Tensor) -> torch.Tensor:
    """Return what a layer was given, in single or double precision, checked."""
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"A layer was given a {type(x).__name__}, but inputs are tensors.")
    if not all_finite(x):
        raise ValueError("A layer was given NaN or infinity.")
    return x.detach() if x.dtype == torch.float64 else x.detach().float()
