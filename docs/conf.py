"""How Sphinx builds these pages: ``tox run -e docs``, where a warning is an error."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from sphinx.ext.autodoc.mock import MockFinder

import hangar

if find_spec("torch") is None:
    # A stand-in, so that what needs torch is described without installing it.
    sys.meta_path.insert(0, MockFinder(["torch"]))

project = "Hangar"
author = "the Hangar developers"
project_copyright = author
release = version = hangar.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Hangar {release}"

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
