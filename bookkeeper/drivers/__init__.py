"""The drivers that reach storage behind URLs: fsspec's, and which package brings the one of a protocol."""

from bookkeeper.drivers.door import EXTRAS, filesystem, named, refuse_secrets

__all__ = ["EXTRAS", "filesystem", "named", "refuse_secrets"]
