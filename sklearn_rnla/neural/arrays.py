"""Arrays of numpy and of torch: computed with as numpy, given back as they came."""

import sys
from typing import Any

import numpy as np

from .._refusals import refuse_masked
from .._typing import Array


def is_tensor(x: Any) -> bool:
    """Whether `x` is a torch tensor; does not import torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def all_finite(x: Any) -> bool:
    """Whether an array or a tensor of floats has neither NaN nor infinity."""
    xp, x = (sys.modules["torch"], x.detach()) if is_tensor(x) else (np, x)
    # A sum has no temporaries, unlike `isfinite`. It may overflow: then look closer.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(xp.isfinite(x.sum())) or bool(xp.isfinite(x).all())


def to_numpy(x: Any, name: str, ndim: int | None = None) -> Array:
    """Return floats as a numpy array of float32 or float64, checked.

    Parameters
    ----------
    x : array-like or tensor
        Half precision and bfloat16 become float32, integers float64.
    name : str
        What errors call it.
    ndim : int, default=None
        Dimensions it must have.

    Returns
    -------
    ndarray
        A view where possible.

    Raises
    ------
    ValueError
        When it has other dimensions, no entry, or entries that are masked or not finite.
    TypeError
        When it does not hold real numbers.
    """
    if is_tensor(x):
        x = x.detach().cpu()
        x = (x.float() if x.is_floating_point() and x.itemsize < 4 else x).numpy()
    refuse_masked(x, name)
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise ValueError(
            f"{name} of type {type(x).__name__} must be an array: its parts are of "
            "different shapes."
        ) from error
    if x.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, not {x.dtype}.")
    if x.dtype.kind != "f" or x.itemsize < 4:
        x = x.astype(np.float32 if x.dtype.kind == "f" else np.float64)
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"{name} has shape {x.shape}, but {ndim} dimensions are expected.")
    if not x.size:
        raise ValueError(f"{name} has shape {x.shape}: it has no entry.")
    if not all_finite(x):
        raise ValueError(f"{name} contains NaN or infinity.")
    return x


def like(result: Array, x: Any) -> Any:
    """Return a numpy array as `x` came: its library, dtype (if a float) and device."""
    if is_tensor(x):
        torch = sys.modules["torch"]
        dtype = x.dtype if x.is_floating_point() else torch.float64
        return torch.as_tensor(np.ascontiguousarray(result)).to(x.device, dtype)
    dtype = np.asarray(x).dtype
    return result.astype(dtype if dtype.kind == "f" else np.float64, copy=False)
