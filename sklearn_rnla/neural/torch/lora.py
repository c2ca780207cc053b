"""Low-rank adapters of linear layers: started, trained, merged, saved for PEFT."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import linear

from ..._random import draw_seed, stream
from ..lora import lora_init
from .errors import of_layer

# What PEFT puts before the names of a module's own parameters.
_PREFIX = "base_model.model."


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
        self.residual = nn.Parameter(start.W_residual, requires_grad=False)
        self.bias = layer.bias
        if self.bias is not None:
            self.bias.requires_grad_(False)
        self.lora_A = nn.Parameter(start.A)
        self.lora_B = nn.Parameter(start.B)
        self.register_buffer("start_A", start.A.clone())
        self.register_buffer("start_B", start.B.clone())
        self.train(layer.training)

    @property
    def rank(self) -> int:
        """Rank of the adapter."""
        return len(self.lora_A)

    @property
    def weight(self) -> torch.Tensor:
        """The whole weight: modules that read it, and do not call the layer, are right."""
        return self.residual + self.scale * (self.lora_B @ self.lora_A)

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
    Outputs do not change, but for rounding. A layer whose weight is shared with another
    module gets one of its own. Hooks of the layers replaced are not taken over.

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
    made = {layer: LoraLinear(layer, start) for layer, start in starts.items()}
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
    found = _adapters(module)
    made = {layer: _merged(layer) for layer in found.values()}
    merged = {name: made[layer] for name, layer in found.items()}
    _replace(module, merged)
    return merged


def save_adapter(module, path, *, base_model=None):
    """Write what training changed as an adapter that Hugging Face's PEFT loads.

    Parameters
    ----------
    module : torch.nn.Module
        With layers made by `apply_lora`: the whole model that PEFT is to load the adapter
        into, as names are relative to it.
    path : str or path-like
        A folder, made where missing. ``adapter_config.json`` and
        ``adapter_model.safetensors`` in it are overwritten.
    base_model : str, default=None
        Name or path of the base model, for the configuration.

    Raises
    ------
    ValueError
        When no layer has an adapter, or when one stands, or the layer it was made of
        stood, in several places.
    ImportError
        When safetensors is not installed.

    See Also
    --------
    merge_lora : Without PEFT.

    Notes
    -----
    The adapter is relative to the original weights, W, not to the residual ones, so that
    it is loaded into the model as it was before `apply_lora`:

        W_residual + scale B A = W + scale (B A - B_0 A_0)

    with what training started from, ``A_0`` and ``B_0``. Its rank is twice that of the
    layer, by ``A`` over ``A_0`` and ``B`` beside ``-B_0``, and its alpha, too; where the
    start was "random", ``B_0`` is zero and both remain as they are. Biases and other
    parameters are not written.

    Examples
    --------
    >>> import tempfile, torch
    >>> from sklearn_rnla.neural.torch import apply_lora, save_adapter
    >>> module = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU())
    >>> _ = apply_lora(module, "0", rank=4, random_state=0)
    >>> with tempfile.TemporaryDirectory() as path:  # doctest: +SKIP
    ...     save_adapter(module, path)
    """
    found = _adapters(module)
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise ImportError("save_adapter needs safetensors: pip install safetensors.") from (
            error
        )
    tensors, ranks, alphas = {}, {}, {}
    places = {}
    for name, layer in found.items():
        if layer in places:
            raise ValueError(
                f"One adapted layer stands in two places, {places[layer]!r} and {name!r}: "
                "PEFT would adapt them apart. Use merge_lora instead."
            )
        places[layer] = name
        if layer.elsewhere:
            raise ValueError(
                f"Layer {name!r} also stood at {layer.elsewhere[0]!r}, without an adapter: "
                "PEFT would not find it. Use merge_lora instead."
            )
        A, B = _difference(layer)
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = A
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = B
        ranks[name] = len(A)
        alphas[name] = layer.scale * len(A)
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path / "adapter_model.safetensors", metadata={"format": "pt"})
    config = _peft_config(_targets(module, ranks), ranks, alphas, base_model)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (path / "adapter_config.json").write_text(text, encoding="utf-8")


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


def _adapters(module):
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
    return merged.train(layer.training)


def _difference(layer):
    """Return factors of what training changed, over `scale`."""
    A, B = layer.lora_A.detach(), layer.lora_B.detach()
    if layer.start_B.any():
        A, B = torch.cat([A, layer.start_A]), torch.cat([B, -layer.start_B], dim=1)
    return A.cpu().contiguous(), B.cpu().contiguous()


def _targets(module, names):
    """Return what tells PEFT the layers: their names, or an expression.

    PEFT also takes layers whose names end in one given, after a dot.
    """
    others = [name for name, _ in module.named_modules() if name not in names]
    if any(other.endswith(f".{name}") for other in others for name in names):
        return f"(?:{'|'.join(map(re.escape, names))})"
    return list(names)


def _peft_config(targets, ranks, alphas, base_model):
    """Return PEFT's configuration; what most layers have, and the exceptions by name."""
    rank = Counter(ranks.values()).most_common(1)[0][0]
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    return {
        "alpha_pattern": {f"^{re.escape(n)}": a for n, a in alphas.items() if a != alpha},
        "base_model_name_or_path": base_model,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "rank_pattern": {f"^{re.escape(n)}": r for n, r in ranks.items() if r != rank},
        "target_modules": targets,
        "task_type": None,
        "use_rslora": False,
    }
