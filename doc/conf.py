"""Documentation: ``python -m sphinx -W -b html doc doc/_build/html``."""

import importlib.util
import os
import re
import sys
import warnings
from importlib.metadata import metadata
from pathlib import Path

# The gallery is executed here: one thread a product is as fast on examples of this size,
# and does not suffer where other work shares the machine. Set before numpy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from sklearn.utils.discovery import all_estimators

import sklearn_rnla

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "sklearn_rnla"
author = "the sklearn_rnla developers"
copyright = author
version = release = sklearn_rnla.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "inventories"]
# `name` links where the name is known, and is set as code where it is not.
default_role = "py:obj"

autosummary_generate = True
torch_is_installed = importlib.util.find_spec("torch") is not None
# Where torch is missing, its modules are described all the same.
autodoc_mock_imports = [] if torch_is_installed else ["torch"]
# Parameters are described below the signature, with their types in words.
autodoc_typehints = "none"
# Members are listed by the template of classes.
numpydoc_show_class_members = False

extlinks = {
    "doi": ("https://doi.org/%s", "doi:%s"),
    "arxiv": ("https://arxiv.org/abs/%s", "arXiv:%s"),
}


def inventory(project, url):
    """Return where a project documents its names, and those known without a network."""
    return url, (None, str(HERE / "inventories" / f"{project}.txt"))


intersphinx_mapping = {
    "python": inventory("python", "https://docs.python.org/3"),
    "numpy": inventory("numpy", "https://numpy.org/doc/stable"),
    "scipy": inventory("scipy", "https://docs.scipy.org/doc/scipy"),
    "sklearn": inventory("sklearn", "https://scikit-learn.org/stable"),
    "pandas": inventory("pandas", "https://pandas.pydata.org/docs"),
    "dask": inventory("dask", "https://docs.dask.org/en/stable"),
    "torch": inventory("torch", "https://docs.pytorch.org/docs/stable"),
    "joblib": inventory("joblib", "https://joblib.readthedocs.io/en/stable"),
}
intersphinx_timeout = 5


# Where torch is missing, the examples that need it are shown without their output.
needs_torch = "" if torch_is_installed else "(?!lora_start)"
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": rf"plot_{needs_torch}|quickstart",
    "reset_modules": ("gallery_style.set_style",),
    "subsection_order": [
        f"../examples/{task}"
        for task in ("components", "kernels", "completion", "regression", "neural")
    ],
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
html_title = "sklearn_rnla"
html_theme_options = {
    "show_nav_level": 2,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_end": ["theme-switcher"],
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
# The issue tracker, once setup.cfg names one among its project_urls.
project_urls = metadata("sklearn-rnla").get_all("Project-URL") or []
html_theme_options["icon_links"] = [
    {"name": name, "url": url, "icon": "fa-solid fa-bug"}
    for name, url in (line.split(", ") for line in project_urls)
    if name == "Issues"
]
html_sidebars = {"changelog": [], "develop": [], "benchmarks": []}
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False


def escape_attributes(app, what, name, obj, options, lines):
    """Keep reStructuredText from reading ``n_components_`` in a shape as a link."""
    lines[:] = [
        line if ">>>" in line or "``" in line else re.sub(r"(\w)_(?=[,)])", r"\1\_", line)
        for line in lines
    ]


# `PCA` is scikit-learn's, wherever it is written.
SHORT_NAMES = {
    name: f"{cls.__module__.partition('._')[0]}.{name}" for name, cls in all_estimators()
}


def complete_name(app, env, node, contnode):
    """Let intersphinx look for scikit-learn's classes, written by their names alone."""
    target = node.get("reftarget")
    if target in SHORT_NAMES:
        node["reftarget"] = SHORT_NAMES[target]


def setup(app):
    # After numpydoc, which writes the lines.
    app.connect("autodoc-process-docstring", escape_attributes, priority=600)
    # Before intersphinx.
    app.connect("missing-reference", complete_name, priority=100)
