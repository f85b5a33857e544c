"""What a job needs on a node that shares no folder with this host, made to travel.

`load` gives what an order of a batch system takes: the files, and the command that runs one of its jobs. They are the
worker itself (`bookkeeper.cargo.kit`: one file, which needs nothing but a Python), the job's description, one archive
with the command's program, scripts, shared libraries and other files, and archives of the person as they are.
`bookkeeper.worker.freight` is the other end.
"""

from bookkeeper.cargo.kit import SCHEMES
from bookkeeper.cargo.loading import Loaded, load

__all__ = ["SCHEMES", "Loaded", "load"]
