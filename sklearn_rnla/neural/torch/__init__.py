"""Modules and functions for torch networks."""

try:
    import torch  # noqa: F401
except ImportError as _error:
    raise ImportError(
        'sklearn_rnla.neural.torch needs torch: pip install "sklearn_rnla[torch]".'
    ) from _error

from .attention import NystroemAttention
from .compression import CompressedModel, compress
from .lora import LoraLinear, apply_lora, merge_lora
from .peft import save_adapter
from .pruning import PrunedModel, prune_neurons
from .recorder import ActivationRecorder

__all__ = [
    "ActivationRecorder",
    "CompressedModel",
    "LoraLinear",
    "NystroemAttention",
    "PrunedModel",
    "apply_lora",
    "compress",
    "merge_lora",
    "prune_neurons",
    "save_adapter",
]
