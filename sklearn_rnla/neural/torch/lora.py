"""Low-rank adapters of linear layers: started, trained, merged."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import linear

from ..._random import draw_seed, stream
from ..._sklearn import validated
from ..._typing import Float, Int, Seed
from ..lora import CONSTRAINTS, LoraInit, lora_init
from .layers import in_forward_pass, of_layer, stand_in


class LoraLinear(nn.Module):
    """A linear layer with a frozen weight and a trainable low-rank adapter.

    `apply_lora` puts it in the place of a `torch.nn.Linear`.

    Parameters
    ----------
    layer : torch.nn.Linear
        The layer to replace. Its bias is shared and becomes frozen.
    start : LoraInit
        The start of the adapter, computed from the weight of `layer`.

    Attributes
    ----------
    residual : Parameter of shape (out_features, in_features)
        The frozen part of the weight.
    bias : Parameter of shape (out_features,) or None
        The frozen bias.
    lora_A : Parameter of shape (rank, in_features)
        The first factor of the adapter, which is trained.
    lora_B : Parameter of shape (out_features, rank)
        The second factor of the adapter, which is trained.
    start_A, start_B : Tensor
        Buffers with the initial values of `lora_A` and `lora_B`, from which `save_adapter`
        computes what training has changed.
    scale : float
        Factor of the adapter: the layer computes ``x residual^T + scale x A^T B^T + bias``.
    elsewhere : tuple of str
        Names of other places where the model holds the replaced layer, without an adapter.

    See Also
    --------
    apply_lora : Makes it.

    Examples
    --------
    >>> import torch
    >>> from sklearn_rnla import lora_init
    >>> from sklearn_rnla.neural.torch import LoraLinear
    >>> layer = torch.nn.Linear(20, 30)
    >>> adapted = LoraLinear(layer, lora_init(layer.weight, 4, random_state=0))
    >>> x = torch.ones(1, 20)
    >>> torch.allclose(adapted(x), layer(x), atol=1e-5)
    True
    """

    def __init__(self, layer: nn.Linear, start: LoraInit) -> None:
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

    def __setattr__(self, name: str, value: Any) -> None:
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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
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

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}, rank={self.rank}, scale={self.scale:g}"
        )


@validated(
    **CONSTRAINTS,
    module=[nn.Module],
    names=[str, Iterable],
    activations=[Mapping, None],
)
def apply_lora(
    module: nn.Module,
    names: str | Sequence[str],
    rank: Int,
    *,
    method: Literal["principal", "residual", "activation", "random"] = "principal",
    alpha: Float | None = None,
    activations: Mapping[str, torch.Tensor] | None = None,
    ridge: Float | None = None,
    tol: Float = 0.05,
    random_state: Seed = None,
) -> dict[str, LoraLinear]:
    """Give linear layers of a module low-rank adapters, in place.

    Parameters
    ----------
    module : torch.nn.Module
        The model. Only the layers that get an adapter are changed; to train nothing but
        the adapters, call ``module.requires_grad_(False)`` first.
    names : str or list of str
        Names of the `torch.nn.Linear` layers to adapt. Each is a full name
        ("encoder.0.fc"), the last part of names ("fc") or a pattern with wildcards
        ("encoder.*"). A full name selects that layer only.
    rank : int
        Rank of each adapter.
    method : {"principal", "residual", "activation", "random"}, default="principal"
        What the adapters start from, see `lora_init`.
    alpha : float, default=None
        Scale of the adapters, see `lora_init`.
    activations : dict of str to Tensor of shape (..., in_features), default=None
        For "activation": inputs of each layer, by its full name.
    ridge, tol : float
        See `lora_init`.
    random_state : int, RandomState instance, Generator or None, default=None
        Seed. Each layer has its own random stream.

    Returns
    -------
    dict of str to LoraLinear
        The new layers by their full names. A layer that the model holds in several places
        remains a single layer.

    Raises
    ------
    ValueError
        If a name matches no linear layer, or `module` is itself a layer; if a layer
        overrides what `torch.nn.Linear` computes, or its weight is quantised; if the
        activations of a layer are missing; and whenever `lora_init` raises it, with the
        name of the layer in a note. The module is then left as it was.
    TypeError
        If `module` is not a module, `names` are not strings, or `activations` is not a
        dict.

    See Also
    --------
    merge_lora : Turns adapted layers back into linear ones.
    save_adapter : Writes the adapters for PEFT.

    Notes
    -----
    Outputs stay the same up to rounding. Hooks on a layer are moved to the new one.

    A layer that shares its weight with another module, as the head of many transformers
    does with the embedding, gets a weight of its own. Calling ``tie_weights()`` of such a
    model is harmless as long as the layer has its adapter. After `merge_lora` it would undo
    what was learned: set ``model.config.tie_word_embeddings = False`` before.

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
    if isinstance(module, nn.Linear):
        raise ValueError(
            "module is a layer itself, but layers are replaced inside of a model: pass "
            "torch.nn.Sequential(module)."
        )
    found = _linear_layers(module, [names] if isinstance(names, str) else list(names))
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


def merge_lora(module: nn.Module) -> dict[str, nn.Linear]:
    """Turn adapted layers back into linear ones, in place.

    Parameters
    ----------
    module : torch.nn.Module
        A model with layers made by `apply_lora`.

    Returns
    -------
    dict of str to torch.nn.Linear
        The new layers by their full names. Their parameters require gradients.

    Raises
    ------
    ValueError
        If no layer has an adapter.

    See Also
    --------
    apply_lora : Adds the adapters.

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


def _linear_layers(module, patterns):
    """Return names and linear layers that fit a pattern, in the order of the module."""
    wrong = [type(p).__name__ for p in patterns if not isinstance(p, str)]
    if wrong:
        raise TypeError(f"names must be strings, but one is of type {wrong[0]}.")
    layers = _layers_of(module, nn.Linear)
    # A whole name is one layer, whatever brackets mean in patterns.
    fitting = {
        p: [p] if p in layers else [name for name in layers if _fits(name, p)]
        for p in patterns
    }
    missing = [p for p, found in fitting.items() if not found]
    if missing or not patterns:
        adapted = _layers_of(module, LoraLinear)
        raise ValueError(
            f"names={missing} match none of the linear layers"
            f"{' without an adapter' if adapted else ''}: {', '.join(layers) or 'none'}."
        )
    chosen = {name for found in fitting.values() for name in found}
    return {name: layer for name, layer in layers.items() if name in chosen}


def _layers_of(module, kind):
    """Return the layers of a kind inside of a module by name, all of their places."""
    parts = module.named_modules(remove_duplicate=False)
    return {name: part for name, part in parts if name and isinstance(part, kind)}


def _fits(name, pattern):
    return fnmatchcase(name, pattern) or name.endswith(f".{pattern}")


def _check_layer(name, layer):
    """Raise an error where an adapter would not do what the layer does."""
    if type(layer).forward is not nn.Linear.forward or "forward" in vars(layer):
        raise ValueError(
            f"Layer {name!r}, a {type(layer).__name__}, computes its output in its own "
            "way, which an adapter would not keep. Choose names that leave it out."
        )
    dtype = layer.weight.dtype
    if not dtype.is_floating_point or dtype.itemsize < 2:
        raise ValueError(
            f"The weight of layer {name!r} holds {dtype}, but floats of two bytes or more "
            "are expected. Quantised weights must be converted first."
        )


def adapters_of(module: nn.Module) -> dict[str, LoraLinear]:
    """Return the adapted layers by name, all of their places; at least one."""
    found = _layers_of(module, LoraLinear)
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
