"""Networks with fewer neurons and channels."""

from collections import Counter
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from ..._sklearn import validated
from ..._typing import Float
from ..compression.inputs import InputMoments
from ..compression.layer import NUMBER_OR_SHARE, RIDGE
from ..compression.neurons import CRITERION, count_of, select_neurons
from .compression import floats, watch_inputs
from .layers import has_hooks

_LAYERS = (nn.Linear, nn.Conv2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)

# What changes each entry by itself, so that it may stand between any two layers.
_ELEMENTWISE = (
    nn.Dropout,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.Hardtanh,
    nn.Identity,
    nn.LeakyReLU,
    nn.ReLU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
)
# What changes each channel of images by itself.
_CHANNELWISE = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.Dropout2d,
    nn.MaxPool2d,
)


class PrunedModel(NamedTuple):
    """A model with fewer neurons, and a record of which were kept.

    Attributes
    ----------
    model : torch.nn.Module
        The model. Its layers are smaller layers of the same kinds.
    table : dict of str to list
        One row per pair of layers, ready for `pandas.DataFrame`. The columns are "layer",
        which makes the neurons; "reader", which reads them; "n_neurons" and
        "n_neurons_before"; and "output_error", the relative error of what the reader puts
        out on the inputs.
    indices : dict of str to ndarray
        Indices of the neurons or channels that were kept, for each layer that makes them.

    See Also
    --------
    prune_neurons : Returns it.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla.neural.torch import prune_neurons
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(8, 20), torch.nn.ReLU(), torch.nn.Linear(20, 4)
    ... )
    >>> found = prune_neurons(model, torch.randn(100, 8), 5)
    >>> found.indices["0"].shape
    (5,)
    """

    model: nn.Module
    table: dict
    indices: dict


@validated(
    model=[nn.Module],
    n=NUMBER_OR_SHARE,
    pairs=["array-like", None],
    inplace=["boolean"],
    criterion=CRITERION,
    ridge=RIDGE,
)
def prune_neurons(
    model: nn.Module,
    inputs: torch.Tensor | Iterable[Any],
    n: Float,
    *,
    pairs: Sequence[tuple[str, ...]] | None = None,
    inplace: bool = False,
    criterion: Literal["outputs", "activations"] = "outputs",
    ridge: Float | None = None,
) -> PrunedModel:
    """Keep some neurons or channels of hidden layers, and fold the others into the next.

    Parameters
    ----------
    model : torch.nn.Module
        A model that contains `torch.nn.Linear` layers or `torch.nn.Conv2d` layers of one
        group.
    inputs : tensor or iterable
        Inputs to run the model on: a tensor, or an iterable of batches, each a tensor, a
        tuple of arguments or a dict of keyword arguments.
    n : int or float
        How many neurons to keep in each layer, as a number or as a fraction in (0, 1].
    pairs : list of tuple of str, default=None
        For each hidden layer, the name of the layer that makes the neurons and the name of
        the only layer that reads them. Batch normalisations between the two are named in
        the middle. If the neurons are flattened in between, the channels of images must
        come before the pixels, and the neurons of sequences after the tokens.

        None finds pairs along each `torch.nn.Sequential` that only calls its parts one
        after the other. Neurons that a hook may read are left alone.
    inplace : bool, default=False
        Whether to change `model` itself rather than a copy.
    criterion : {"outputs", "activations"}, default="outputs"
        What to preserve, see `select_neurons`.
    ridge : float, default=None
        Regularisation of the activations' second moments, see `select_neurons`. Each pixel
        counts as a sample.

    Returns
    -------
    PrunedModel
        The named tuple ``(model, table, indices)``.

    Raises
    ------
    ValueError
        If `n` exceeds the number of neurons of a layer, if no pairs are found, if a pair
        does not fit together or one of its layers is used elsewhere, if the model does not
        call a layer when it is run on `inputs`, if `inputs` are a single sample, or if the
        model would not run with fewer neurons.
    TypeError
        If a pair is made of other layers than linear ones or convolutions of one group, has
        something else than batch normalisations in the middle, or has a weight that is
        computed from other parameters; if `inputs` are neither a tensor nor batches of
        tensors.

    See Also
    --------
    compress : Replaces a layer by a pair of smaller ones instead.

    Notes
    -----
    Each pair is treated by `select_neurons`, on the activations of the model as it was
    given. Each pixel is a sample of the channels of a convolution, and channels are mixed
    in the same way at all pixels. If the reader pads its inputs, means are not folded into
    its bias, as they would be missing at the borders.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla.neural.torch import prune_neurons
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Linear(8, 20), torch.nn.ReLU(), torch.nn.Linear(20, 4)
    ... )
    >>> found = prune_neurons(model, torch.randn(100, 8), 0.5)
    >>> found.table["layer"], found.table["n_neurons"]
    (['0'], [10])
    >>> found.model[2]
    Linear(in_features=10, out_features=4, bias=True)
    """
    model = model if inplace else deepcopy(model)
    own = _held_once(model)
    found = _found_pairs(model, own) if pairs is None else _named_pairs(model, pairs, own)
    sums, dims, batch = _watch(model, found, inputs)
    if pairs is None:
        found = [pair for pair in found if _in_sequence(pair, dims)]
    if not found:
        raise ValueError(
            "model has no two layers that follow one another in a torch.nn.Sequential, "
            "without anything between them that mixes or may read neurons: pass pairs."
        )
    for pair in found:
        # All is checked before anything is changed.
        count_of(n, pair.width)
        if not sums[pair.names[-1]].count:
            raise ValueError(f"inputs never reach layer {pair.names[-1]!r}.")
    titles = "layer", "reader", "n_neurons", "n_neurons_before", "output_error"
    rows, indices = [], {}
    for pair in found:
        maker, reader, before = pair.names[0], pair.names[-1], pair.width
        kept = _prune(pair, sums[reader], n, criterion=criterion, ridge=ridge)
        indices[maker] = kept.indices
        rows.append((maker, reader, len(kept.indices), before, kept.error))
    _check_runs(model, batch)
    columns = map(list, zip(*rows, strict=True))
    table = dict(zip(titles, columns, strict=True))
    return PrunedModel(model, table, indices)


def _check_runs(model, batch):
    try:
        watch_inputs(model, {}, [batch], None)
    except RuntimeError as error:
        raise ValueError(
            "The model does not run with fewer neurons, as something else depends on their "
            "number. Name normalisations between two layers in the middle of their pair, "
            "and leave out of pairs what else is read."
        ) from error


class _Pair(NamedTuple):
    """A layer that makes neurons, normalisations of these, and a layer that reads them.

    Attributes
    ----------
    names : tuple of str
    parts : tuple of torch.nn.Module
    sequence : str or None
        The name of what calls them one after the other, of pairs that were not named.
    """

    names: tuple
    parts: tuple
    sequence: str | None = None

    @property
    def width(self) -> int:
        """Number of neurons."""
        return len(self.parts[0].weight)

    @property
    def images(self) -> bool:
        """Whether neurons are channels of images."""
        return isinstance(self.parts[0], nn.Conv2d)


def _held_once(model):
    """Return the modules that the model holds in one place."""
    # Not by `children`, which leaves out what comes again.
    held = Counter(
        id(part) for parent in model.modules() for part in parent._modules.values()
    )
    return {part for part in model.modules() if held[id(part)] == 1}


def _is_layer(part):
    """Whether a layer has neurons, and a weight that is not made of others each time."""
    return (
        isinstance(part, _LAYERS)
        and getattr(part, "groups", 1) == 1
        and "weight" in part._parameters
    )


def _found_pairs(model, own):
    """Return pairs along sequences, with the normalisations between them."""
    found = []
    for name, sequence in model.named_modules():
        # A subclass may do more than call one after the other.
        if getattr(type(sequence), "forward", None) is not nn.Sequential.forward:
            continue
        names, parts, flat = (), (), False
        for child, part in sequence._modules.items():
            here = f"{name}.{child}" if name else child
            if has_hooks(part):
                # A hook sees what comes in as well as what goes out.
                names, parts = (), ()
                continue
            usable = part in own and type(part) in (*_LAYERS, *_NORMS)
            if usable and _is_layer(part):
                if parts and _follows(parts[0], part, flat):
                    found.append(_Pair((*names, here), (*parts, part), name))
                names, parts, flat = (here,), (part,), False
            elif parts and usable and _normalises(part, parts[0], flat):
                names, parts = (*names, here), (*parts, part)
            elif parts and _is_flatten(part):
                flat = True
            elif type(part) not in _ELEMENTWISE and not (
                parts
                and isinstance(parts[0], nn.Conv2d)
                and not flat
                and type(part) in _CHANNELWISE
            ):
                names, parts = (), ()
    return found


def _is_flatten(part):
    return type(part) is nn.Flatten and (part.start_dim, part.end_dim) == (1, -1)


def _follows(maker, reader, flat):
    """Whether a layer reads the neurons of another as they were made."""
    made, read = len(maker.weight), reader.weight.shape[1]
    if isinstance(maker, nn.Conv2d) and flat:
        return isinstance(reader, nn.Linear) and read % made == 0
    return isinstance(maker, nn.Conv2d) is isinstance(reader, nn.Conv2d) and read == made


def _normalises(norm, maker, flat):
    """Whether a batch normalisation is of the neurons."""
    kind = nn.BatchNorm2d if isinstance(maker, nn.Conv2d) else nn.BatchNorm1d
    return type(norm) is kind and not flat and norm.num_features == len(maker.weight)


def _in_sequence(pair, dims):
    """Whether a sequence alone called the parts, and neurons were where they should be.

    Parameters
    ----------
    pair : _Pair
    dims : dict of str to list of int
        Dimensions of what modules were given, at each call.
    """
    calls = {len(dims[name]) for name in (pair.sequence, *pair.names)}
    first, reader = dims[pair.names[0]], pair.parts[-1]
    if pair.images and isinstance(reader, nn.Linear):
        # Of a single image, it is channels that are not flattened.
        return len(calls) == 1 and set(first) <= {4}
    # Of sequences, BatchNorm1d normalises tokens.
    return len(calls) == 1 and (pair.images or len(pair.parts) == 2 or set(first) <= {2})


def _named_pairs(model, pairs, own):
    """Return pairs that were named, checked."""
    found = []
    for names in map(tuple, pairs):
        if len(names) < 2:
            raise ValueError(f"pairs has {names!r}, but at least two names are needed.")
        pair = _Pair(names, tuple(_part(model, name) for name in names))
        _check_pair(pair, own)
        found.append(pair)
    sides = {
        "makes neurons": [pair.names[0] for pair in found],
        "normalises": [name for pair in found for name in pair.names[1:-1]],
        "reads neurons": [pair.names[-1] for pair in found],
    }
    for does, names in sides.items():
        for name, times in Counter(names).items():
            if times > 1:
                raise ValueError(f"pairs has {times} entries in which {name!r} {does}.")
    return found


def _part(model, name):
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise ValueError(f"pairs has {name!r}, but model has no such module.") from error


def _check_pair(pair, own):
    last = len(pair.parts) - 1
    for i, (name, part) in enumerate(zip(pair.names, pair.parts, strict=True)):
        kinds = _LAYERS if i in (0, last) else _NORMS
        if not isinstance(part, kinds) or getattr(part, "groups", 1) != 1:
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(
                f"{name!r} is a {type(part).__name__}, but {expected} of one group is "
                "expected there."
            )
        if i in (0, last) and not _is_layer(part):
            raise TypeError(
                f"{name!r} computes its weight from other parameters at each call. Remove "
                "that parametrization first."
            )
        if part not in own or pair.parts.count(part) > 1:
            raise ValueError(f"{name!r} is used in more than one place.")
        if i not in (0, last) and part.num_features != pair.width:
            raise ValueError(
                f"{name!r} normalises {part.num_features} neurons, but {pair.names[0]!r} "
                f"makes {pair.width}."
            )
    reader = pair.parts[-1]
    read = reader.weight.shape[1]
    if read % pair.width or (isinstance(reader, nn.Conv2d) and read != pair.width):
        raise ValueError(
            f"{pair.names[-1]!r} reads {read} neurons, but {pair.names[0]!r} makes "
            f"{pair.width}."
        )


def _watch(model, pairs, inputs):
    """Run the model, and see what the parts of pairs are given.

    Returns
    -------
    sums : dict of str to InputMoments
        Of the neurons, by the layer that reads them.
    dims : dict of str to list of int
        As of `_in_sequence`.
    batch : object
        The first one.
    """
    readers = {pair.names[-1]: pair for pair in pairs}
    sums = {name: InputMoments(pair.width) for name, pair in readers.items()}
    watched = {
        name: model.get_submodule(name)
        for pair in pairs
        for name in (pair.sequence, *pair.names)
        if name is not None
    }
    dims = {name: [] for name in watched}

    def see(name, layer, x):
        dims[name].append(getattr(x, "ndim", None))
        if name in readers:
            sums[name].add(_samples(readers[name], x))

    batch = watch_inputs(model, watched, inputs, see) if watched else None
    return sums, dims, batch


def _samples(pair, x):
    """Return activations as rows of the neurons: of a pixel for convolutions."""
    x = floats(x)
    if isinstance(pair.parts[-1], nn.Conv2d):
        x = (x if x.ndim == 4 else x[None]).movedim(1, -1)
    elif pair.images:
        # Flattened: pixels of a channel are neighbours.
        x = x.reshape(-1, pair.width, x.shape[-1] // pair.width).movedim(1, -1)
    return x.reshape(-1, pair.width).cpu().numpy()


def _prune(pair, moments, n, **options):
    first, *norms, reader = pair.parts
    padded = isinstance(reader, nn.Conv2d) and reader.padding not in ((0, 0), "valid")
    found = select_neurons(
        first.weight.detach(),
        _by_neuron(pair, reader.weight.detach()),
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
    _set(reader, "weight", _as_read(pair, found.W_out))
    _count(reader, "in", reader.weight.shape[1])
    _set(reader, "bias", found.bias_out)
    return found


def _by_neuron(pair, W):
    """Return what reads neurons as (n_out, n_neurons, ...)."""
    if isinstance(pair.parts[-1], nn.Conv2d):
        return W
    if pair.images:
        return W.unflatten(1, (pair.width, -1))
    # Flattened tokens: neurons of a token are neighbours.
    return W.unflatten(1, (-1, pair.width)).movedim(2, 1)


def _as_read(pair, W):
    """Return what `_by_neuron` made of a weight to its own shape."""
    if isinstance(pair.parts[-1], nn.Conv2d):
        return W
    return (W if pair.images else W.movedim(1, 2)).flatten(1)


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
