"""Pages to look at: what the catalog knows, in a browser; they only show.

`router` makes what the server's application includes. Nothing of it writes, and no page costs more than the
rows it shows, however many files a project has.
"""

from bookkeeper.server.pages.routes import router

__all__ = ["router"]
