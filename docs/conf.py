"""Sphinx: how the pages of this folder become HTML. Everything is local: no fonts, scripts or inventories are fetched."""

import logging
from importlib.metadata import version as installed_version

project = "bookkeeper"
author = "The bookkeeper developers"
project_copyright = author
release = version = installed_version("sam-bookkeeper")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpick_ignore_regex = [("py:.*", r"(?!bookkeeper).*")]  # only our own names can be linked: there is no network

html_theme = "furo"
html_title = f"bookkeeper {release}"
html_static_path = ["_static"]
html_css_files = ["page.css"]
html_copy_source = False
html_show_sphinx = False

# A folder may have only its index page. This warning has a subtype but no type, so suppress_warnings cannot name it.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(
    lambda record: getattr(record, "subtype", None) != "empty_glob"
)
