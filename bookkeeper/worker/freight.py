"""What travelled with a job to a node that shares no folder: proved, unpacked, and where its command finds it.

All of it becomes one private folder, which is the command's working folder. The archives of a person are unpacked
first, then the job's own pack, in the layout that the spec's folder has; what bookkeeper adds lies below
``.bookkeeper/``: ``bin/`` programs that lay elsewhere, ``lib/`` shared libraries. No name of an archive leaves the
folder, whatever it says: see `unpack`.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import posixpath
import stat
import sys
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bookkeeper.errors import StorageError, UsageError
from bookkeeper.worker import command
from bookkeeper.worker.job import Job, OutputSpec

OWN: Final = ".bookkeeper"
"""What bookkeeper adds to a job lies in this folder of it."""

PROGRAMS, LIBRARIES = f"{OWN}/bin", f"{OWN}/lib"

TOKEN: Final = "bookkeeper-token"  # noqa: S105 - the name of a file
"""The file with a token for the catalog's server that may lie beside a job."""

AUTHORITY: Final = "bookkeeper-ca.pem"
"""The file with the certificate of the authority that the catalog's server is trusted by; it may lie there, too."""

CHUNK: Final = 1 << 20

_TORN: Final = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError)


@dataclass(frozen=True, slots=True)
class Landed:
    """A job in its place: as it is to be run here, the path of its program, what its environment is told besides."""

    job: Job
    program: str
    environment: Mapping[str, str]


def stage(job: Job, scratch: Path, check: Callable[[], None]) -> Landed:
    """Bring what travelled with a job into place below ``scratch``, and find the program of its command.

    ``check`` is called again and again, and may raise. Raises `StorageError` for what did not arrive whole, and
    `UsageError` for an archive that cannot be unpacked, or whose names lead out of its folder, and for a program that
    is not there.
    """
    environment: dict[str, str] = {}
    if job.freight:
        folder = scratch / "job"
        _land(job, folder, check)
        job, environment = _at_home(job, folder), _environment(folder)
    path = environment.get("PATH", os.environ.get("PATH"))
    return Landed(job, command.resolve(job.command[0], job.workdir, path), environment)


def _land(job: Job, folder: Path, check: Callable[[], None]) -> None:
    _make(folder)
    links: dict[Path, str] = {}
    for item in job.freight:
        arrived = Path(item.name)
        prove(arrived, item.size, item.checksum, check)
        links |= dict.fromkeys(unpack(arrived, folder, check), arrived.name)
        _stay_within(links, folder, check)  # one of another archive may lie in the way of an earlier one


def prove(path: Path, size: int, checksum: str, check: Callable[[], None] = lambda: None) -> None:
    """Compare a file with what was sent: its size and its SHA-256. Raises `StorageError`."""
    again = "nothing was run: the job is tried again; if it stays so, see what the batch system transfers to that node"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise StorageError(f"{path.name} did not arrive as a file on this node", remedy=again)
        if status.st_size != size:
            raise StorageError(
                f"{path.name} did not arrive whole on this node: {status.st_size:,} of {size:,} bytes", remedy=again
            )
        found = sha256_of(path, check)
    except FileNotFoundError as error:
        raise StorageError(f"{path.name} did not travel with the job to this node", remedy=again) from error
    except OSError as error:
        raise StorageError(f"{path.name} cannot be read on this node: {error.strerror}", remedy=again) from error
    if found != checksum:
        raise StorageError(
            f"{path.name} is not what was sent with the job: its checksum differs",
            remedy="it was changed after the submission, or on its way: submit again",
        )


def sha256_of(path: Path, check: Callable[[], None] = lambda: None) -> str:
    """Return the checksum of a file, ``sha256:`` and 64 hexadecimal digits."""
    running = hashlib.sha256()
    with path.open("rb") as stream:
        while data := stream.read(CHUNK):
            check()
            running.update(data)
    return f"sha256:{running.hexdigest()}"


def unpack(archive: Path, folder: Path, check: Callable[[], None]) -> list[Path]:
    """Unpack a tar archive, of whatever compression, into a folder that exists and is private; return its links.

    Regular files, folders, and links that stay within are taken; anything else is refused: an absolute name, ``..``, a
    link that leads out, a name below a link, a device. Permissions are kept, but those beyond the owner's to write, and
    set-user-id. Does not trust what Python's own filter does, which is missing or flawed in older versions of 3.11.
    """
    try:
        with tarfile.open(archive, "r:*") as members:
            links = [path for member in members if (path := _take(members, member, archive.name, folder, check))]
    except _TORN as error:
        raise UsageError(
            f"{archive.name} cannot be unpacked: {str(error) or type(error).__name__}",
            remedy="an archive is a tar file, plain or compressed by gzip, bzip2 or xz: look at it by `tar -tf`",
        ) from error
    except OSError as error:
        raise StorageError(
            f"{archive.name} cannot be unpacked on this node: {error.strerror or error}",
            remedy="ask for more disk space for the job, or see what is wrong with the node's scratch space",
        ) from error
    _stay_within(dict.fromkeys(links, archive.name), folder, check)
    return links


def _stay_within(links: Mapping[Path, str], folder: Path, check: Callable[[], None]) -> None:
    """Raise `UsageError` for a link, of the archive named, that leads out: of links to links, only the whole tells."""
    root = os.path.realpath(folder)
    for link, archive in links.items():
        check()
        if not _within(os.path.realpath(link), root):
            raise _leads_out(archive, os.path.relpath(link, folder))


def _take(
    members: tarfile.TarFile, member: tarfile.TarInfo, archive: str, folder: Path, check: Callable[[], None]
) -> Path | None:
    """Unpack one member; return its path where it is a symbolic link."""
    check()
    parts = _parts(member.name, archive)
    if not parts:
        return None  # the folder itself
    parent = _parent(folder, parts[:-1], archive, member.name)
    target = parent / parts[-1]
    if member.isdir():
        if target.is_symlink() or not target.is_dir():
            target.unlink(missing_ok=True)
            target.mkdir(mode=0o700)
        return None
    if target.is_dir() and not target.is_symlink():
        raise UsageError(
            f"{archive}: {member.name} is a file where a folder of that name is", remedy="rename one of them"
        )
    target.unlink(missing_ok=True)
    if member.issym():
        if posixpath.isabs(member.linkname) or _climbs([*parts[:-1], *member.linkname.split("/")]):
            raise _leads_out(archive, member.name)
        target.symlink_to(member.linkname)
        return target
    if member.islnk():
        named = _parts(member.linkname, archive)
        source = _parent(folder, named[:-1], archive, member.name) / named[-1] if named else folder
        if not stat.S_ISREG(source.lstat().st_mode):
            raise _leads_out(archive, member.name)
        os.link(source, target)
        return None
    if not member.isreg():
        raise UsageError(
            f"{archive}: {member.name} is neither a file, a folder nor a link",
            remedy="pack it without devices and pipes",
        )
    _write(members, member, target, check)
    return None


def _write(members: tarfile.TarFile, member: tarfile.TarInfo, target: Path, check: Callable[[], None]) -> None:
    source = members.extractfile(member)
    assert source is not None
    mode = (member.mode & 0o755) | 0o600
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with source, os.fdopen(descriptor, "wb") as sink:
        while data := source.read(CHUNK):
            check()
            sink.write(data)
        os.fchmod(sink.fileno(), mode)


def _parts(name: str, archive: str) -> list[str]:
    """Return the folders and the name of a member. Raises `UsageError` where it would lie elsewhere."""
    if name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise _leads_out(archive, name)
    return [part for part in name.split("/") if part not in ("", ".")]


def _parent(folder: Path, parts: Sequence[str], archive: str, name: str) -> Path:
    """Return the folder of a member, made where it is missing; never through a link."""
    place = folder
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise UsageError(
                f"{archive}: {name} lies below {part}, which is a link",
                remedy="pack the folder itself, not a link to it",
            )
        if not place.is_dir():
            place.mkdir(mode=0o700)
    return place


def _climbs(parts: Sequence[str]) -> bool:
    """Tell whether a path leads, at any point, out of where it begins."""
    depth = 0
    for part in parts:
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            return True
    return False


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")


def _leads_out(archive: str, name: str) -> UsageError:
    return UsageError(
        f"{archive}: {name[:200]} leads out of the folder that it is unpacked in",
        remedy="pack with relative names, and files in the place of links to elsewhere: `tar -h -C FOLDER -czf …`",
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made on this node: {error.strerror}") from error


def _at_home(job: Job, folder: Path) -> Job:
    """Return the job with its working folder, and its plug-ins and validation commands, as they lie here."""

    def placed(word: str) -> str:
        return str(folder / word) if "/" in word and (folder / word).exists() else word

    def judged(one: OutputSpec) -> OutputSpec:
        if isinstance(one.validate, str):
            return one
        return replace(one, validate=(placed(one.validate[0]), *one.validate[1:]))

    return replace(
        job,
        workdir=str(folder),
        plugins=tuple(placed(one) for one in job.plugins),
        outputs=tuple(judged(one) for one in job.outputs),
    )


def _environment(folder: Path) -> dict[str, str]:
    """Return the variables that let a command find what travelled with it, before what the node has."""
    path = f"{os.environ.get('PATH') or os.defpath}:{Path(sys.executable).parent}"
    found = {"PATH": f"{folder / PROGRAMS}:{path}" if (folder / PROGRAMS).is_dir() else path}
    if (folder / LIBRARIES).is_dir():
        before = os.environ.get("LD_LIBRARY_PATH")
        found["LD_LIBRARY_PATH"] = f"{folder / LIBRARIES}{f':{before}' if before else ''}"
    return found
