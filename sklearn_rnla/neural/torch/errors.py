"""Errors that tell the layer."""

from __future__ import annotations

from contextlib import contextmanager


@contextmanager
def of_layer(name):
    """Add a note with the name of a layer to errors about what it is given or holds."""
    try:
        yield
    except (NotImplementedError, TypeError, ValueError) as error:
        error.add_note(f"Layer: {name!r}.")
        raise
