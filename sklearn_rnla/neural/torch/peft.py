"""Adapters in the files of Hugging Face's PEFT."""

import json
import re
from collections import Counter
from os import PathLike
from pathlib import Path

import torch
from torch import nn

from .layers import name_inside, reads_weight
from .lora import adapters_of

# What PEFT puts before the names of a module's own parameters.
_PREFIX = "base_model.model."


def save_adapter(
    module: nn.Module, path: str | PathLike[str], *, base_model: str | None = None
) -> None:
    """Write what training changed as an adapter that Hugging Face's PEFT loads.

    Parameters
    ----------
    module : torch.nn.Module
        A model with layers made by `apply_lora`. It must be the whole model that PEFT will
        load the adapter into, as names are relative to it. Wrappers for compilation or for
        several devices are left out of the names.
    path : str or path-like
        Folder to write to, which is created if it does not exist. The files
        ``adapter_config.json`` and ``adapter_model.safetensors`` in it are overwritten.
    base_model : str, default=None
        Name or path of the base model, for the configuration.

    Raises
    ------
    ValueError
        If no layer has an adapter; if the model holds an adapted layer, or the layer that
        it replaced, in several places; or if a module reads the weight of a layer instead
        of calling it, so that PEFT's adapter would do nothing. Torch's attention does so,
        and its encoder layers in evaluation.
    ImportError
        If safetensors is not installed.

    See Also
    --------
    merge_lora : Needs no PEFT to use what was learned.

    Notes
    -----
    The adapter is relative to the original weights W, so that PEFT loads it into the model
    as it was before `apply_lora`:

        W_residual + scale B A = W + scale (B A - B_0 A_0)

    Here ``A_0`` and ``B_0`` are the factors that training started from. The adapter
    stacks ``A`` on ``A_0`` and puts ``-B_0`` beside ``B``, so that its rank and its alpha
    are twice those of the layer. With the start "random", ``B_0`` is zero, and rank and
    alpha stay the same. Biases and other parameters are not written.

    Examples
    --------
    >>> import tempfile, torch
    >>> from sklearn_rnla.neural.torch import apply_lora, save_adapter
    >>> module = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU())
    >>> _ = apply_lora(module, "0", rank=4, random_state=0)
    >>> with tempfile.TemporaryDirectory() as path:  # doctest: +SKIP
    ...     save_adapter(module, path)
    """
    found = adapters_of(module)
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise ImportError("save_adapter needs safetensors: pip install safetensors.") from (
            error
        )
    _check_places(module, found)
    tensors, ranks, alphas = {}, {}, {}
    for name, layer in found.items():
        name = name_inside(module, name)
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


def _check_places(module, layers):
    """Raise an error where PEFT would do something else than these layers do."""
    places = {}
    for name, layer in layers.items():
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
        if layer.is_bypassed or reads_weight(module, name):
            raise ValueError(
                f"The module that holds layer {name!r} reads its weight rather than call "
                "it, so that the adapter would do nothing in PEFT. Use merge_lora instead, "
                "and save the model."
            )
        if not name_inside(module, name):
            raise ValueError(
                "module is a layer itself, but PEFT adapts layers inside of a model: pass "
                "torch.nn.Sequential(module)."
            )


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
    others = {name_inside(module, name) for name, _ in module.named_modules() if name}
    others -= set(names)
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
