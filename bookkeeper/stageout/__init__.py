"""Outputs on storage: claim a destination, copy and read back, publish without replacing, take back. No database.

A destination is a local folder or any fsspec URL. In it lie the published objects, and beside them::

    <destination>/.bookkeeper/claim                              whose destination it is
    <destination>/.bookkeeper/<process>-<nonce>-<n>/<name>       an upload under its temporary name

Every step may end at any instruction (kill -9, power loss). What is then left, and who cleans up:

==============  ====================================================  =========================================
step            left by a kill                                        who goes on
==============  ====================================================  =========================================
`claim`         the folders; a ``claim.<random>`` beside the claim.   `claim` again; `tidy` deletes the leftover.
                The claim itself is whole or absent
`stage_out`     an empty upload folder, or a temporary that is        nobody reads it: only a manifest names a
                partial or whole                                      temporary. Collected (`temporaries`,
                                                                      `discard`, `tidy`) when its process is over
`transfer`      as `stage_out`; the near copy stays as it is          another `transfer`, to another temporary
`publish`       before the link: the temporary. After it: both        `publish` again, by anyone: it finds the
                names of one file. After the unlink: an empty         final name taken by the recorded content,
                upload folder                                         removes the rest, and says "already"
`discard`       the temporary, or its empty folder                    `discard` again, or `tidy`
`remove_final`  the object, or nothing                                `remove_final` again
==============  ====================================================  =========================================

A final name is made by a hard link (or a rename that never replaces), so it is whole from its first instant. Behind
URLs that holds as far as the storage copies or renames atomically: see `publish`, and `s3` for what has no rename.
"""

from __future__ import annotations

from bookkeeper.stageout.claims import claim, claimed_by, require_claim
from bookkeeper.stageout.copying import Staged, stage_out
from bookkeeper.stageout.listing import (
    Temporary,
    exists,
    measure,
    object_size,
    objects,
    pieces,
    temporaries,
    tidy,
)
from bookkeeper.stageout.names import final_url, parse_temporary, resolve, temporary_url
from bookkeeper.stageout.publication import discard, publish, remove_final
from bookkeeper.stageout.transferring import NearCopyBad, transfer

__all__ = [
    "NearCopyBad",
    "Staged",
    "Temporary",
    "claim",
    "claimed_by",
    "discard",
    "exists",
    "final_url",
    "measure",
    "object_size",
    "objects",
    "parse_temporary",
    "pieces",
    "publish",
    "remove_final",
    "require_claim",
    "resolve",
    "stage_out",
    "temporaries",
    "temporary_url",
    "tidy",
    "transfer",
]
