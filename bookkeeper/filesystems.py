"""Which file systems a catalog in one file can lie on: those of one host.

SQLite's write-ahead log needs shared memory and locks that hold (https://sqlite.org/wal.html).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from bookkeeper.errors import CatalogError

NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"nfs", "nfs4", "afs", "auristorfs", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "9p", "fuse.eosxd",
     "fuse.eosxd3", "fuse.ceph-fuse", "fuse.xrootdfs", "fuse.rclone", "fuse.s3fs", "webdav", "fuse.sshfs", "fuse.cernvm-fs", "cvmfs2", "glusterfs", "fuse.glusterfs", "panfs", "pvfs2", "orangefs"}
)  # fmt: skip


def refuse_network_file_system(path: Path) -> None:
    """Raise `CatalogError` where the folder of ``path`` lies on a network file system."""
    kind = file_system_of(path.parent)
    if kind in NETWORK_FILE_SYSTEMS:
        raise CatalogError(
            f"{path} lies on a network file system ({kind}): SQLite's shared memory and locks do not hold there",
            remedy="put the catalog on a local disk of the host that runs `submit`, and name it with --catalog",
        )


def file_system_of(folder: Path) -> str:
    """Return the type of the file system that holds ``folder`` ("ext4", "nfs4", …), "" where it cannot be told."""
    folder = folder.resolve()
    best, kind = "", ""
    for mount, fstype in _mounts():
        if len(mount) >= len(best) and (folder == Path(mount) or Path(mount) in folder.parents):
            best, kind = mount, fstype
    return kind.lower()


def _mounts() -> list[tuple[str, str]]:
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as table:
            rows = [line.split(" ") for line in table]
        return [(row[1].replace("\\040", " "), row[2]) for row in rows if len(row) > 2]
    except FileNotFoundError:
        import psutil

        return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]
