"""What the gallery does before each example."""

from pathlib import Path

import matplotlib.pyplot as plt

STYLE = Path(__file__).parent.parent / "examples" / "gallery.mplstyle"


def set_style(gallery_conf, filename):
    """Give every picture the same style."""
    plt.rcdefaults()
    plt.style.use(STYLE)
