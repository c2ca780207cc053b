"""Axes and colours of all displays."""

from collections.abc import Mapping

# Of the palette of Okabe and Ito, which colour-blind readers can tell apart, those that are
# seen on white and on dark ground.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f")

# What is there for comparison: thresholds, samples.
MUTED = "#7f7f7f"


def axes_of(ax):
    """Return axes, new ones for None, and their figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'Plots need matplotlib: pip install "sklearn_rnla[plot]".'
        ) from error
    if ax is None:
        ax = plt.subplots(layout="constrained")[1]
    return ax, ax.figure


def check_kind(kind, kinds):
    """Raise ValueError when `kind` is not among `kinds`."""
    if kind not in kinds:
        raise ValueError(f"kind={kind!r} must be one of {sorted(kinds)}.")


def named(found, parameter, example):
    """Return a dict with names as strings.

    Parameters
    ----------
    found : dict
        What is to be plotted, by its name.
    parameter : str
        The name of the argument.
    example : str
        What it should look like.

    Returns
    -------
    dict
    """
    if not isinstance(found, Mapping):
        raise TypeError(
            f"{parameter} must be a dict, such as {example}, but is a "
            f"{type(found).__name__}."
        )
    if not found:
        raise ValueError(f"{parameter} is empty: nothing to plot.")
    by_name = {str(name): value for name, value in found.items()}
    if len(by_name) < len(found):
        raise ValueError(f"Two names of {list(found)} are the same as strings.")
    return by_name


def add_legend(ax):
    """Add a legend that hides what lies behind it."""
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none")


def integer_ticks(ax):
    """Let the ticks of the x axis be whole numbers."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
