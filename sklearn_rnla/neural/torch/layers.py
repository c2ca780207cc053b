"""Layers that take the place of others, in models that may do more than call them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_stack

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

# What torch keeps of the hooks of a module. The handles that remove a hook refer to these
# dicts, so that they are handed on, not copied.
_HOOKS = [name for name in vars(nn.Module()) if "hook" in name and "state_dict" not in name]

# Wrappers that hold a model as `module`, and names that others give to theirs.
_WRAPPERS = (nn.DataParallel, DistributedDataParallel, AveragedModel)
_WRAPPED = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@contextmanager
def of_layer(name: str) -> Iterator[None]:
    """Add a note with the name of a layer to errors about what it is given or holds."""
    try:
        yield
    except (NotImplementedError, TypeError, ValueError) as error:
        error.add_note(f"Layer: {name!r}.")
        raise


def stand_in(new: nn.Module, old: nn.Module) -> nn.Module:
    """Give a layer the hooks of the one whose place it takes, and its mode.

    Parameters
    ----------
    new, old : torch.nn.Module
        Hooks that compute the weight of `old` before each call are left out.

    Returns
    -------
    torch.nn.Module
        `new`.
    """
    is_computed = (
        isinstance(old, (nn.Linear, nn.Conv2d)) and "weight" not in old._parameters
    )
    for name in _HOOKS:
        if not (is_computed and name.startswith("_forward_pre")):
            vars(new)[name] = vars(old)[name]
    return new.train(old.training)


def has_hooks(part: nn.Module) -> bool:
    """Whether something is called before or after a module, with what it is given."""
    return any(vars(part).get(name) for name in _HOOKS if name.endswith("_hooks"))


def name_inside(module: nn.Module, name: str) -> str:
    """Return the name that a part has in the model itself, without what is wrapped around.

    Parameters
    ----------
    module : torch.nn.Module
        Perhaps with wrappers for several devices, or for compilation.
    name : str
        As of ``module.named_modules()``.
    """
    kept, part = [], module
    for child in name.split("."):
        is_wrapped = child == "module" and isinstance(part, _WRAPPERS)
        if not (is_wrapped or child in _WRAPPED):
            kept.append(child)
        part = part.get_submodule(child)
    return ".".join(kept)


def reads_weight(module: nn.Module, name: str) -> bool:
    """Whether torch's own modules pass the weight of a part on, and do not call it.

    Parameters
    ----------
    module : torch.nn.Module
    name : str
        As of ``module.named_modules()``.
    """
    path, _, child = name.rpartition(".")
    parent = module.get_submodule(path)
    if isinstance(parent, nn.MultiheadAttention):
        return child == "out_proj"
    if not isinstance(parent, nn.TransformerEncoderLayer):
        return False
    # Else it has no fast path in evaluation.
    attention = parent.self_attn
    return (
        child in ("linear1", "linear2")
        and attention.batch_first
        and attention.in_proj_bias is not None
        and attention.num_heads % 2 == 0
        and bool(parent.activation_relu_or_gelu)
    )


def in_forward_pass() -> bool:
    """Whether a module is being called, up the stack."""
    return any(frame.f_code is _CALL for frame, _ in walk_stack(sys._getframe(1)))


_CALL = nn.Module._call_impl.__code__
