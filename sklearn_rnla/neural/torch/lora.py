"""Low-rank adapters of linear layers: started, trained, merged."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

import torch
from torch import nn
from torch.nn.functional import linear

from ..._random import draw_seed, stream
from ..lora import lora_init
from .errors import of_layer
from .layers import in_forward_pass, stand_in


class LoraLinear(nn.Module):
    """A linear layer with a frozen weight and a trainable low-rank adapter.

    Made by `apply_lora`.

    Parameters
    ----------
    layer : torch.nn.Linear
        The layer it stands for. Its bias is shared, and frozen.
    start : LoraInit
        Of its weight.

    Attributes
    ----------
    residual : Parameter of shape (out_features, in_features)
        Frozen.
    bias : Parameter of shape (out_features,) or None
        Frozen.
    lora_A : Parameter of shape (rank, in_features)
        Trained.
    lora_B : Parameter of shape (out_features, rank)
        Trained.
    start_A, start_B : Tensor
        Buffers: what `lora_A` and `lora_B` were at first, so that `save_adapter` can
        write the difference.
    scale : float
        The layer computes ``x residual^T + scale x A^T B^T + bias``.
    elsewhere : tuple of str
        Other places of the layer it was made of, which keep that.
    """

    def __init__(self, layer, start):
        super().__init__()
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.scale = start.scale
        self.elsewhere = ()
        self._is_called = self._is_read = self._is_passed_on = False
        self.residual = nn.Parameter(start.W_residual, requires_grad=False)
        self.bias = layer.bias
        if self.bias is not None:
            self.bias.requires_grad_(False)
        self.lora_A = nn.Parameter(start.A)
        self.lora_B = nn.Parameter(start.B)
        self.register_buffer("start_A", start.A.clone())
        self.register_buffer("start_B", start.B.clone())

    @property
    def rank(self) -> int:
        """Rank of the adapter."""
        return len(self.lora_A)

    @property
    def weight(self) -> torch.Tensor:
        """The whole weight: modules that read it, and do not call the layer, are right.

        What is assigned to it becomes the original weight, and what training has changed
        is added, as where ``tie_weights()`` of a transformer ties its head again.
        """
        W = self.residual + self.scale * (self.lora_B @ self.lora_A)
        if not torch.jit.is_scripting():
            self._note_reader(W)
        return W

    def __setattr__(self, name, value):
        # A property cannot do this: torch takes parameters before it asks the class.
        if name != "weight":
            return super().__setattr__(name, value)
        if value.shape != self.residual.shape:
            raise ValueError(
                f"weight has shape {tuple(value.shape)}, but the layer has an adapter of "
                f"shape {tuple(self.residual.shape)}: call merge_lora first."
            )
        with torch.no_grad():
            value = value.to(self.residual)
            self.residual.copy_(value - self.scale * (self.start_B @ self.start_A))

    @torch.jit.unused
    def _note_reader(self, W):
        """Note that a module reads the whole weight while it is called."""
        if torch.compiler.is_compiling() or not in_forward_pass():
            return
        self._is_read = True
        if W.requires_grad:
            W.register_hook(self._note_gradient)

    def _note_gradient(self, gradient):
        self._is_passed_on = True

    @property
    def is_bypassed(self) -> bool:
        """Whether a module was seen to compute with `weight` rather than call the layer."""
        return self._is_passed_on or (self._is_read and not self._is_called)

    def forward(self, x):
        """Return the layer's output.

        Parameters
        ----------
        x : Tensor of shape (..., in_features)
            Inputs.

        Returns
        -------
        Tensor of shape (..., out_features)
            Outputs.
        """
        if not torch.compiler.is_compiling():
            self._is_called = True
        low = linear(linear(x, self.lora_A), self.lora_B)
        return linear(x, self.residual, self.bias) + self.scale * low

    def extra_repr(self):
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, rank={self.rank}, scale={self.scale:g}"
        )


def apply_lora(
    module,
    names,
    rank,
    *,
    method="principal",
    alpha=None,
    activations=None,
    ridge=None,
    tol=0.05,
    random_state=None,
):
    """Give linear layers of a module low-rank adapters, in place.

    Parameters
    ----------
    module : torch.nn.Module
        Any that contains the layers. Other parameters are left as they are: call
        ``module.requires_grad_(False)`` before, to train nothing but the adapters.
    names : str or list of str
        Names of `torch.nn.Linear` layers: whole ("encoder.0.fc"), their last parts
        ("fc"), or with wildcards ("encoder.*"). A whole name is that layer alone.
    rank : int
        Of each adapter.
    method : {"principal", "residual", "activation", "random"}, default="principal"
        See `lora_init`.
    alpha : float, default=None
        See `lora_init`.
    activations : dict of str to Tensor of shape (..., in_features), default=None
        Inputs of each layer by its whole name, for "activation".
    ridge, tol : float
        See `lora_init`.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed; each layer has a stream of its own.

    Returns
    -------
    dict of str to LoraLinear
        The new layers by their whole names. One that stands in several places remains
        one.

    Raises
    ------
    ValueError
        When a name fits no linear layer, or `module` is one; when a layer computes
        something of its own, or its weight does not hold floats of two bytes or more; when
        activations of a layer are missing; and those of `lora_init`, with the layer in a
        note. The module is then left as it was.
    TypeError
        When `module` is none, `names` are not strings, or `activations` is not a dict.

    See Also
    --------
    merge_lora : The reverse.
    save_adapter : Write adapters for PEFT.

    Notes
    -----
    Outputs do not change, but for rounding. Hooks of a layer are those of the new one.

    A layer whose weight is shared with another module, as the head of many transformers
    with their embedding, gets one of its own. Calling ``tie_weights()`` of such a model is
    harmless as long as the layer has its adapter. After `merge_lora` it would undo what
    was learned: set ``model.config.tie_word_embeddings = False`` before.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla.neural.torch import apply_lora, merge_lora
    >>> module = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU())
    >>> module = module.requires_grad_(False)
    >>> apply_lora(module, "0", rank=4, random_state=0)["0"]
    LoraLinear(in_features=20, out_features=30, bias=True, rank=4, scale=1)
    >>> sum(p.numel() for p in module.parameters() if p.requires_grad)
    200
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, not {type(module).__name__}.")
    if isinstance(module, nn.Linear):
        raise ValueError("module is a layer itself: pass torch.nn.Sequential(module).")
    found = _linear_layers(module, _patterns(names))
    if activations is not None and not isinstance(activations, Mapping):
        raise TypeError(
            "activations must be a dict of the layers' names to their inputs, but is a "
            f"{type(activations).__name__}."
        )
    seed = draw_seed(random_state)
    starts = {}
    for i, (name, layer) in enumerate(found.items()):
        if layer in starts:
            continue
        _check_layer(name, layer)
        if method == "activation" and name not in (activations or {}):
            raise ValueError(f"activations has no entry for the layer {name!r}.")
        with of_layer(name):
            starts[layer] = lora_init(
                layer.weight,
                rank,
                method=method,
                alpha=alpha,
                activations=activations[name] if method == "activation" else activations,
                ridge=ridge,
                tol=tol,
                random_state=stream(seed, i),
            )
    made = {x: stand_in(LoraLinear(x, start), x) for x, start in starts.items()}
    replaced = {name: made[layer] for name, layer in found.items()}
    for name, part in module.named_modules(remove_duplicate=False):
        if part in made and name not in found:
            made[part].elsewhere += (name,)
    _replace(module, replaced)
    return replaced


def merge_lora(module):
    """Turn adapted layers back into linear ones, in place.

    Parameters
    ----------
    module : torch.nn.Module
        With layers made by `apply_lora`.

    Returns
    -------
    dict of str to torch.nn.Linear
        The new layers by their whole names; their parameters can be trained.

    Raises
    ------
    ValueError
        When no layer has an adapter.

    See Also
    --------
    apply_lora : The reverse.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla.neural.torch import apply_lora, merge_lora
    >>> module = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU())
    >>> _ = apply_lora(module, "0", rank=4, random_state=0)
    >>> merge_lora(module)
    {'0': Linear(in_features=20, out_features=30, bias=True)}
    """
    found = adapters_of(module)
    made = {layer: _merged(layer) for layer in found.values()}
    merged = {name: made[layer] for name, layer in found.items()}
    _replace(module, merged)
    return merged


def _patterns(names):
    """Return the names as a list of strings."""
    patterns = [names] if isinstance(names, str) else names
    try:
        patterns = list(patterns)
    except TypeError:
        patterns = [patterns]
    wrong = [type(p).__name__ for p in patterns if not isinstance(p, str)]
    if wrong:
        raise TypeError(f"names must be strings, but one is of type {wrong[0]}.")
    return patterns


def _linear_layers(module, patterns):
    """Return names and linear layers that fit a pattern, in the order of the module."""
    layers = {
        name: layer
        for name, layer in module.named_modules(remove_duplicate=False)
        if name and isinstance(layer, nn.Linear)
    }
    # A whole name is one layer, whatever brackets mean in patterns.
    fitting = {
        p: [p] if p in layers else [name for name in layers if _fits(name, p)]
        for p in patterns
    }
    missing = [p for p, found in fitting.items() if not found]
    if missing or not patterns:
        adapted = any(isinstance(part, LoraLinear) for part in module.modules())
        raise ValueError(
            f"names={missing} fit none of the linear layers: {', '.join(layers) or 'none'}"
            f"{' without an adapter' if adapted else ''}."
        )
    chosen = {name for found in fitting.values() for name in found}
    return {name: layer for name, layer in layers.items() if name in chosen}


def _fits(name, pattern):
    return fnmatchcase(name, pattern) or name.endswith(f".{pattern}")


def _check_layer(name, layer):
    """Raise an error where an adapter would not do what the layer does."""
    if type(layer).forward is not nn.Linear.forward or "forward" in vars(layer):
        raise ValueError(
            f"Layer {name!r}, a {type(layer).__name__}, computes its output in a way of "
            "its own."
        )
    dtype = layer.weight.dtype
    if not dtype.is_floating_point or dtype.itemsize < 2:
        raise ValueError(
            f"The weight of layer {name!r} holds {dtype}, but floats of two bytes or more "
            "are expected, not quantised ones."
        )


def adapters_of(module):
    """Return the adapted layers by name, all of their places; at least one."""
    found = {
        name: layer
        for name, layer in module.named_modules(remove_duplicate=False)
        if name and isinstance(layer, LoraLinear)
    }
    if not found:
        raise ValueError(f"{type(module).__name__} has no layer with an adapter.")
    return found


def _replace(module, layers):
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, layer)


def _merged(layer):
    weight = layer.weight.detach()
    merged = nn.Linear(
        layer.in_features, layer.out_features, bias=False, device="meta", dtype=weight.dtype
    )
    merged.weight = nn.Parameter(weight)
    merged.bias = layer.bias
    if merged.bias is not None:
        merged.bias.requires_grad_(True)
    return stand_in(merged, layer)
