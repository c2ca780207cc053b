"""Networks with fewer neurons and channels."""

from __future__ import annotations

from copy import deepcopy
from typing import NamedTuple

import torch
from torch import nn

from ..._sklearn import validate_params
from .._inputs import InputMoments
from ..compression import RIDGE
from ..neurons import CRITERION, N_NEURONS, select_neurons
from ._compression import watch_inputs

_LAYERS = (nn.Linear, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

# What changes each channel by itself, so that it may stand between two layers.
_CHANNELWISE = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.ELU,
    nn.Flatten,
    nn.GELU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.MaxPool2d,
    nn.ReLU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
    *_NORMS,
)


class PrunedModel(NamedTuple):
    """A model with fewer neurons, and which were kept.

    Attributes
    ----------
    model : torch.nn.Module
        Its layers are smaller ones of the same kinds.
    table : dict of str to list
        Columns, one entry a pair of layers: "layer", "reader", "n_neurons",
        "n_neurons_before", and "output_error" of the reader on the inputs. For
        `pandas.DataFrame`.
    indices : dict of str to ndarray
        Neurons or channels kept, by the layer that makes them.
    """

    model: nn.Module
    table: dict
    indices: dict


@validate_params(
    {
        "model": [nn.Module],
        "n": N_NEURONS,
        "pairs": ["array-like", None],
        "inplace": ["boolean"],
        "criterion": CRITERION,
        "ridge": RIDGE,
    },
    prefer_skip_nested_validation=True,
)
def prune_neurons(
    model, inputs, n, *, pairs=None, inplace=False, criterion="outputs", ridge=None
):
    """Keep some neurons or channels of hidden layers, and fold the others into the next.

    Parameters
    ----------
    model : torch.nn.Module
        With `torch.nn.Linear` or `torch.nn.Conv2d` of one group.
    inputs : tensor or iterable
        What the model is run on: a tensor, or batches, each a tensor, a tuple of
        arguments or a dict of keyword arguments.
    n : int or float
        To keep in each layer: a number, or a share in (0, 1].
    pairs : list of tuple of str, default=None
        For each hidden layer, the name of what makes the neurons and of what alone reads
        them; batch normalisations between them stand in the middle. None finds
        them along a `torch.nn.Sequential`; what is between others than linear and
        convolutional layers stays.
    inplace : bool, default=False
        Whether to change `model` itself rather than a copy.
    criterion : {"outputs", "activations"}, default="outputs"
        As in `select_neurons`.
    ridge : float, default=None
        As in `select_neurons`. A pixel counts as a sample.

    Returns
    -------
    PrunedModel
        ``(model, table, indices)``.

    Raises
    ------
    ValueError
        When `n` exceeds the neurons of a layer, there are no pairs, one does not fit, or
        inputs never reach one.
    TypeError
        When a pair is not of linear or convolutional layers of one group, or has
        something else than batch normalisations in the middle.

    See Also
    --------
    compress : Pairs of layers in the place of one.

    Notes
    -----
    `select_neurons` for each pair, on the activations of the model as given. Channels of a
    convolution are sampled at each pixel, and mixed alike at all. Where the reader is
    padded, means are not folded into its bias: they would be missing at the borders.
    """
    model = model if inplace else deepcopy(model)
    pairs = _pairs(model) if pairs is None else [tuple(pair) for pair in pairs]
    if not pairs:
        raise ValueError("model has no two layers that follow one another: pass pairs.")
    modules = [tuple(_part(model, name) for name in pair) for pair in pairs]
    for pair, parts in zip(pairs, modules, strict=True):
        _check_pair(pair, parts)
    readers = {pair[-1]: parts[-1] for pair, parts in zip(pairs, modules, strict=True)}
    widths = {p[-1]: len(m[0].weight) for p, m in zip(pairs, modules, strict=True)}
    moments = {name: InputMoments(width) for name, width in widths.items()}
    watch_inputs(
        model,
        readers,
        inputs,
        lambda name, layer, x: moments[name].add(_samples(layer, x, widths[name])),
    )
    table = {
        title: []
        for title in ("layer", "reader", "n_neurons", "n_neurons_before", "output_error")
    }
    indices = {}
    for pair, parts in zip(pairs, modules, strict=True):
        if not moments[pair[-1]].count:
            raise ValueError(f"inputs never reach layer {pair[-1]!r}.")
        before = len(parts[0].weight)
        found = _prune(parts, moments[pair[-1]], n, criterion=criterion, ridge=ridge)
        indices[pair[0]] = found.indices
        row = pair[0], pair[-1], len(found.indices), before, found.error
        for title, value in zip(table, row, strict=True):
            table[title].append(value)
    return PrunedModel(model, table, indices)


def _pairs(model):
    """Return pairs along sequences, with the normalisations between them."""
    found = []
    for name, sequence in model.named_modules():
        if not isinstance(sequence, nn.Sequential):
            continue
        open_pair = None
        for child, part in sequence.named_children():
            own = f"{name}.{child}" if name else child
            if type(part) in _LAYERS and getattr(part, "groups", 1) == 1:
                if open_pair:
                    found.append((*open_pair, own))
                open_pair = [own]
            elif open_pair and type(part) in _NORMS:
                open_pair.append(own)
            elif type(part) not in _CHANNELWISE:
                open_pair = None
    return found


def _part(model, name):
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"pairs has {name!r}, but model has no such module.") from error


def _check_pair(pair, parts):
    if len(pair) < 2:
        raise ValueError(f"pairs has {pair!r}, but at least two names are needed.")
    for name, part in zip(pair, parts, strict=True):
        kinds = _LAYERS if name in (pair[0], pair[-1]) else _NORMS
        if not isinstance(part, kinds) or getattr(part, "groups", 1) != 1:
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(
                f"{name!r} is a {type(part).__name__}, but {expected} of one group is "
                "expected there."
            )
    made, read = len(parts[0].weight), parts[-1].weight.shape[1]
    if read % made:
        raise ValueError(
            f"{pair[-1]!r} reads {read} neurons, but {pair[0]!r} makes {made}."
        )


def _samples(layer, x, width):
    """Return activations as rows of `width`: of a pixel for convolutions."""
    if isinstance(layer, nn.Conv2d):
        x = (x if x.ndim == 4 else x[None]).movedim(1, -1)
    elif x.shape[-1] != width:
        # Flattened: places of a channel are neighbours.
        x = x.reshape(-1, width, x.shape[-1] // width).movedim(1, -1)
    x = x if x.dtype == torch.float64 else x.float()
    if not torch.isfinite(x).all():
        raise ValueError("A layer was given NaN or infinity.")
    return x.reshape(-1, width).cpu().numpy()


def _prune(parts, moments, n, **options):
    first, *norms, reader = parts
    W_out = reader.weight.detach()
    if not isinstance(reader, nn.Conv2d):
        W_out = W_out.reshape(len(W_out), moments.width, -1)
    padded = isinstance(reader, nn.Conv2d) and reader.padding not in ((0, 0), "valid")
    found = select_neurons(
        first.weight.detach(),
        W_out,
        moments,
        n,
        bias_in=first.bias,
        bias_out=None if padded else reader.bias,
        **options,
    )
    kept = torch.as_tensor(found.indices, device=first.weight.device)
    _set(first, "weight", found.W_in)
    _set(first, "bias", found.bias_in)
    _count(first, "out", len(kept))
    for norm in norms:
        for name in ("weight", "bias", "running_mean", "running_var"):
            value = getattr(norm, name)
            _set(norm, name, None if value is None else value.detach()[kept])
        norm.num_features = len(kept)
    if not isinstance(reader, nn.Conv2d):
        _set(reader, "weight", found.W_out.flatten(1))
        reader.in_features = reader.weight.shape[1]
    else:
        _set(reader, "weight", found.W_out)
        _count(reader, "in", len(kept))
    _set(reader, "bias", found.bias_out)
    return found


def _set(module, name, value):
    """Change a parameter or buffer, whatever its size."""
    if value is None:
        return
    old = getattr(module, name)
    if isinstance(old, nn.Parameter):
        value = nn.Parameter(value.clone(), requires_grad=old.requires_grad)
    setattr(module, name, value)


def _count(module, side, n):
    kind = "channels" if isinstance(module, nn.Conv2d) else "features"
    setattr(module, f"{side}_{kind}", n)
