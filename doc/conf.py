"""Documentation: ``python -m sphinx -W -b html doc doc/_build/html``."""

import importlib.util
import os
import re
import warnings

import sklearn_rnla

# The gallery is executed here: one thread a product is as fast on examples of this size,
# and does not suffer where other work shares the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

project = "sklearn_rnla"
author = "the sklearn_rnla developers"
copyright = author
version = release = sklearn_rnla.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates"]
# `name` links where the name is known, and is set as code where it is not.
default_role = "py:obj"

autosummary_generate = True
# Where torch is missing, its modules are described all the same.
autodoc_mock_imports = [] if importlib.util.find_spec("torch") else ["torch"]
# Members are listed by the template of classes.
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    # The quickstart is shown on a page of its own.
    "ignore_pattern": r"quickstart\.py",
    "filename_pattern": r"plot_",
    "within_subsection_order": "ExampleTitleSortKey",
    "backreferences_dir": "api/generated/backreferences",
    "doc_module": ("sklearn_rnla",),
    "reference_url": {"sklearn_rnla": None},
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,
    "matplotlib_animations": False,
}
warnings.filterwarnings("ignore", message=".*Agg is non-interactive.*")

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "show_nav_level": 2,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_end": ["theme-switcher"],
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"changelog": [], "develop": [], "quickstart": []}
html_show_sourcelink = False


def escape_attributes(app, what, name, obj, options, lines):
    """Keep reStructuredText from reading ``n_components_`` in a shape as a link."""
    lines[:] = [
        line if ">>>" in line or "``" in line else re.sub(r"(\w)_(?=[,)])", r"\1\_", line)
        for line in lines
    ]


def setup(app):
    # After numpydoc, which writes the lines.
    app.connect("autodoc-process-docstring", escape_attributes, priority=600)
