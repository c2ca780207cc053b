"""Neural networks: attention, low-rank weights, adapters, representations.

Functions take arrays of numpy or of torch and return what they were given. Modules of
torch are in ``sklearn_rnla.neural.torch``, the one place that imports it.
"""

from importlib import import_module
from typing import Any

# Filled in by topic; imported when a name is first asked for.
_MODULES = {
    "CKA": "representation.similarity",
    "CompressedLayers": "compression.budget",
    "Dimensionality": "representation.spectrum",
    "LoraInit": "lora",
    "LowRankFactors": "compression.layer",
    "NeuronSubset": "compression.neurons",
    "RepresentationSpectrum": "representation.spectrum",
    "attention_error": "attention.attention",
    "compress_layers": "compression.budget",
    "compress_mlp": "compression.mlp",
    "linear_cka": "representation.similarity",
    "lora_init": "lora",
    "low_rank_factorize": "compression.layer",
    "nystroem_attention": "attention.attention",
    "principal_angles": "representation.similarity",
    "representation_spectrum": "representation.spectrum",
    "select_neurons": "compression.neurons",
    "subspace_overlap": "representation.similarity",
}

__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name == "torch":
        return import_module(".torch", __name__)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "torch"]
