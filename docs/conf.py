"""How Sphinx builds these pages: ``tox run -e docs``, where a warning is an error."""

from __future__ import annotations

import hangar

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
