"""Make what an order of a batch system takes, for jobs that find none of this host's folders."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bookkeeper.cargo import libraries, packing
from bookkeeper.cargo.kit import BY_SCHEME, kit
from bookkeeper.catalog import is_remote
from bookkeeper.client.token import token_of
from bookkeeper.errors import UsageError
from bookkeeper.worker.freight import AUTHORITY, LIBRARIES, OWN, PROGRAMS, TOKEN, prove, sha256_of
from bookkeeper.worker.job import Item, Job, OutputSpec

WORKER: Final = "bookkeeper-worker"
JOB: Final = "job.json"
PACK: Final = "cargo.tar.gz"
RESERVED: Final = (WORKER, JOB, PACK, TOKEN, AUTHORITY)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What travels with each job of an order: its program, and the files that lie in its working folder there.

    ``program`` is the worker: a path here, by whatever name it is called there. ``command`` is the program and its words.
    """

    job: Job
    program: Path
    files: tuple[Path, ...]
    command: tuple[str, ...]

    def with_ticket(self, ticket: str, journal: str) -> tuple[str, ...]:
        """Return the words that run the job on a ticket, which travels besides, into a journal: files of these names."""
        return (str(self.program), "--ticket", ticket, "--journal", journal, JOB)


def load(
    job: Job,
    folder: Path,
    *,
    catalog: str | None,
    base: Path,
    files: Sequence[str] = (),
    archives: Sequence[str] = (),
    schemes: Sequence[str] = (),
    cache: Path | None = None,
) -> Loaded:
    """Make ``job`` travel: write what it needs into the ``folder`` of its submission, which exists.

    ``catalog`` is the address by which nodes reach the catalog, that of a server; None for jobs with tickets. ``base``
    is the folder of the spec: relative words of the command are relative to it, and keep their place on the node.
    ``files`` are paths, globs and folders that travel besides, ``archives`` tar files that are unpacked there;
    ``schemes`` those of URLs that inputs are copied from.

    A submission is loaded once: called again, what is there is proved and kept; only the token is the newest. Raises `UsageError` for what cannot
    travel, `StorageError` where the folder, or the cache of the worker, cannot be written.
    """
    if catalog is not None and not is_remote(catalog):
        raise UsageError(
            "a job that shares no folder with this host cannot reach a catalog that is a file or a database",
            remedy='let `bookkeeper serve` open it to nodes: catalog = "https://HOST:PORT" in [executor]; or use tickets',
        )
    program = folder.absolute() / WORKER
    if not program.exists():
        packing.place(kit(_schemes(job, schemes), cache=cache), program)
    own = [folder / JOB]
    if catalog is not None and (token := token_of()):
        packing.write(folder / TOKEN, f"{token}\n".encode(), 0o600)
    if catalog is not None and (authority := os.environ.get("SSL_CERT_FILE")):
        packing.write(folder / AUTHORITY, _regular(base, authority, "certificate").read_bytes())
    # Those of whoever submitted, where this program has none.
    own += [folder / name for name in (TOKEN, AUTHORITY) if (folder / name).exists()]
    brought = [_regular(base, one, "archive") for one in archives]
    if (folder / JOB).exists():
        there = Job.from_json((folder / JOB).read_text(encoding="utf-8"))
        places = {PACK: folder / PACK, **{path.name: path for path in brought}}
        for item in there.freight:
            prove(places.get(item.name, folder / item.name), item.size, item.checksum)
    else:
        there = _pack(job, folder, base, files, brought)
    return Loaded(there, program, (*own, folder / PACK, *brought), (str(program), catalog or "", JOB))


def _pack(job: Job, folder: Path, base: Path, files: Sequence[str], brought: Sequence[Path]) -> Job:
    """Write the pack of a job, then its description, by which the pack is complete; return the job as it travels."""
    for path in brought:
        if path.name in RESERVED or sum(path.name == other.name for other in brought) > 1:
            raise UsageError(
                f"an archive cannot be called {path.name} here", remedy="rename it: each needs its own name"
            )
    hold = _Hold(base, unpacked=bool(brought))
    for pattern in files:
        hold.take(pattern)
    command = (hold.program(job.command[0]), *job.command[1:])
    for word in job.command[1:]:
        hold.script(word)
    outputs = tuple(hold.judged(one) for one in job.outputs)
    plugins = tuple(hold.plugin(one) for one in job.plugins)
    hold.add_libraries()
    packing.pack(hold.files or {f"{OWN}/empty": Path(os.devnull)}, folder / PACK)
    freight = tuple(Item(path.name, path.stat().st_size, sha256_of(path)) for path in (*brought, folder / PACK))
    travels = replace(job, command=command, outputs=outputs, plugins=plugins, workdir="", freight=freight)
    packing.write(folder / JOB, f"{travels.as_json()}\n".encode(), 0o600)
    return travels


def _schemes(job: Job, inputs: Sequence[str]) -> set[str]:
    """Return the schemes of the storage that a job reaches for itself."""
    found = {place.partition("://")[0] for place in (one.destination for one in job.outputs) if "://" in place}
    found |= set(inputs)
    return found & BY_SCHEME.keys()


class _Hold:
    """The files that travel, by their names on the node; others may be ``unpacked`` there."""

    def __init__(self, base: Path, *, unpacked: bool) -> None:
        self._base, self._unpacked = base.absolute(), unpacked
        self.files: dict[str, Path] = {}

    def take(self, pattern: str) -> None:
        """Take a file, a folder with all that is in it, or what a glob matches."""
        whole = str(self._base / os.path.expanduser(pattern))  # noqa: PTH111 - a text
        found = [whole] if os.path.lexists(whole) else sorted(glob.glob(whole, recursive=True))  # noqa: PTH207
        if not found:
            raise UsageError(
                f"{pattern} cannot travel with the job: nothing is called so", remedy="correct [job] files"
            )
        for path in map(Path, found):
            for one in _walk(path):
                self._add(self._name(one, path), one)

    def program(self, word: str) -> str:
        """Take the program of a command, if it is named by a path; return how it is called on the node."""
        if "/" not in word or (self._unpacked and not word.startswith("/") and not (self._base / word).exists()):
            return word
        path = _regular(self._base, word, "program")
        if not os.access(path, os.X_OK):
            raise UsageError(f"{path} is not executable", remedy=f"chmod +x {path}")
        within = self._within(path)
        name = within or f"{PROGRAMS}/{path.name}"
        self._add(name, path)
        return name if "/" in name else f"./{name}"

    def script(self, word: str) -> None:
        """Take what another word of a command names, if it is a file in the folder of the spec."""
        path = self._base / word
        if "\0" not in word and len(word) < 4096 and not word.startswith("/") and path.is_file():
            within = self._within(path)
            if within is None:
                raise UsageError(
                    f"{word} cannot travel with the job: it lies outside of {self._base}",
                    remedy="put it beside the spec, or name it in [job] files and in the command by its name alone",
                )
            self._add(within, path)

    def judged(self, output: OutputSpec) -> OutputSpec:
        """Take the program of a validation command."""
        if isinstance(output.validate, str):
            return output
        return replace(output, validate=(self.program(output.validate[0]), *output.validate[1:]))

    def plugin(self, module: str) -> str:
        """Take a plug-in that is a file; return its name on the node."""
        if not module.endswith(".py"):
            raise UsageError(
                f"the plug-in {module} cannot travel with the job: it is installed here",
                remedy='name it by its file in [plugins] modules = ["./mine.py"], or use nodes that share the folders',
            )
        path = _regular(self._base, module, "plug-in")
        name = f"{OWN}/plugins/{path.name}"
        self._add(name, path)
        return name

    def add_libraries(self) -> None:
        """Take the private shared libraries of all programs and libraries that travel."""
        missing: dict[str, Path] = {}
        for path in list(self.files.values()):
            if not libraries.is_binary(path):
                continue
            found, absent = libraries.private(path)
            for name, place in sorted(found.items()):
                self._add(f"{LIBRARIES}/{name}", place)
            missing |= dict.fromkeys(absent, path)
        travelling = {path.name: path for path in self.files.values()}
        for name, user in missing.items():
            if name not in travelling:
                raise UsageError(
                    f"{user} needs the shared library {name}, which is not found here",
                    remedy="set $LD_LIBRARY_PATH as you do to run it, or name the library in [job] files",
                )
            self._add(f"{LIBRARIES}/{name}", travelling[name])

    def _add(self, name: str, path: Path) -> None:
        there = self.files.setdefault(name, path)
        if there != path and not os.path.samefile(there, path):  # noqa: PTH121
            raise UsageError(
                f"{path} and {there} would both be {name} on the node",
                remedy="rename one, or leave it out of [job] files",
            )

    def _name(self, path: Path, named: Path) -> str:
        """Return the name on the node: the place in the spec's folder; of what lies elsewhere its own name."""
        return self._within(path) or os.path.relpath(path, named.parent)

    def _within(self, path: Path) -> str | None:
        place = os.path.normpath(path)
        if not place.startswith(f"{os.path.normpath(self._base)}/"):
            return None
        return os.path.relpath(place, self._base)


def _walk(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise UsageError(f"{path} cannot travel with the job: it is neither a file nor a folder")
    for place, folders, names in os.walk(path):
        folders[:] = sorted(one for one in folders if one != "__pycache__")
        for name in sorted([*names, *(one for one in folders if Path(place, one).is_symlink())]):
            one = Path(place, name)
            if not one.is_file():
                raise UsageError(
                    f"{one} cannot travel with the job: it is {'a link to a folder' if one.is_dir() else 'no file'}",
                    remedy="name in [job] files what is to travel, or pack it yourself: [job] archive",
                )
            yield one


def _regular(base: Path, word: str, what: str) -> Path:
    path = Path(os.path.normpath(base.absolute() / os.path.expanduser(word)))  # noqa: PTH111 - a text
    if not path.is_file():
        there = "it is no file" if path.exists() else "there is none"
        raise UsageError(f"the {what} {path} cannot travel with the job: {there}", remedy="correct [job] in the spec")
    return path
