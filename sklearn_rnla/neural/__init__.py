"""Neural networks: attention, low-rank weights, adapters, representations.

Functions take arrays of numpy or of torch and return what they were given. Modules of
torch are in ``sklearn_rnla.neural.torch``, the one place that imports it.
"""

from importlib import import_module

# Filled in by topic; imported when a name is first asked for.
_MODULES = {
    "CKA": "similarity",
    "CompressedLayers": "budget",
    "Dimensionality": "representation",
    "LoraInit": "lora",
    "LowRankFactors": "compression",
    "NeuronSubset": "neurons",
    "RepresentationSpectrum": "representation",
    "attention_error": "attention",
    "compress_layers": "budget",
    "compress_mlp": "mlp",
    "linear_cka": "similarity",
    "lora_init": "lora",
    "low_rank_factorize": "compression",
    "nystroem_attention": "attention",
    "principal_angles": "similarity",
    "representation_spectrum": "representation",
    "select_neurons": "neurons",
    "subspace_overlap": "similarity",
}

__all__ = sorted(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
