"""An explicit-state model of the transaction protocol: every state that a few jobs, files and faults can reach.

======================  ================================================================================================
``state``               what one state is: the catalog, the storage, the jobs, the network
``rules``               the protocol's rules and the disturbances, each of which can be switched off
``verbs``               the catalog: what each verb guards and changes
``storage``             temporary and final objects, and whose bytes are in them
``network``             calls that are lost, answered in vain, or executed late
``jobs``, ``daemons``   what a worker, and a transfer daemon, may do next
``environment``         what anybody else may do: expiry, repair, collector, operators, power loss
``invariants``          what must hold in every state
``liveness``            from every state the request can still be completed
``explore``             breadth-first search, shortest counterexamples
``scenarios``           the smallest world in which the absence of each rule shows
``whole``               the whole protocol in larger worlds, and less one rule at a time
``isolation``           games about attempts, parking, and waiting for files
======================  ================================================================================================

``python tests/model/run.py`` runs it; docs/explanation/protocol-model.md explains it.
"""
