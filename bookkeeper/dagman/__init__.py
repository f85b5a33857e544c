"""DAGMan mode: for access points on which no server of ours may run, DAGMan is the babysitter.

A node of the DAG is a partition, or one of the groups in which files are pulled. Before each try of a node its PRE script
lends it files (`bookkeeper.journal`: a ticket); the job writes a journal; the POST script takes that in and decides: the
node is done, is tried again with a new ticket, or is not tried again. The FINAL node says what is missing and recovers.

Nothing is decided by what DAGMan believes. Whatever script is killed, repeated, or runs beside another of the same node,
the ticket in the node's folder and the catalog tell what became of it: see `bookkeeper.dagman.scripts`.
"""

from bookkeeper.dagman.folder import Dag, Node
from bookkeeper.dagman.making import make
from bookkeeper.dagman.queue import kill, resubmit, submit
from bookkeeper.dagman.standing import NodeView, View, look

__all__ = ["Dag", "Node", "NodeView", "View", "kill", "look", "make", "resubmit", "submit"]
