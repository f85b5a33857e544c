"""What is asked for, and what a page of it shows: parameters in, template and values out. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import bookkeeper
from bookkeeper import recovery
from bookkeeper.catalog import Database
from bookkeeper.errors import NotFound
from bookkeeper.server.pages import history, newest, requests
from bookkeeper.server.pages import process as processes
from bookkeeper.server.pages.figures import Figures
from bookkeeper_schema.states import ProcessState

SOON: Final = 2
"""Seconds after which a browser asks again for what is under way."""

LATER: Final = 10

STATES: Final[dict[str, tuple[str, ...]]] = {
    "all": tuple(ProcessState),
    "live": ("active", "staged"),
    "committed": ("committed",),
    "rolled back": ("rolled_back",),
    "revoked": ("revoking", "revoked"),
}
"""What lists of processes can be narrowed to."""

Asked = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shown:
    """A page: its template and values; or, with ``location``, another page that is meant. ``kept``: browsers may store it."""

    template: str
    context: dict[str, Any] = field(default_factory=dict)
    kept: bool = True
    location: str | None = None


class Missing(Exception):
    """The thing that was asked for does not exist; ``context`` names it, and what is near."""

    def __init__(self, kind: str, name: str, message: str, near: list[dict[str, str]], remedy: str = "") -> None:
        super().__init__(message)
        self.context = {
            "kind": kind,
            "name": name,
            "message": message,
            "near": near,
            "remedy": remedy,
            "title": "Not found",
            "live": None,
        }


class Views:
    """The pages of one catalog."""

    def __init__(self, database: Database, *, logs: bool) -> None:
        self._database = database
        self._logs = logs
        self._figures = Figures()
        self.catalog = database.id
        self.version = bookkeeper.__version__

    def overview(self, asked: Asked) -> Shown:
        """All requests, those that need attention first."""
        found = requests.overview(self._database, _number(asked, "before", newest.TOP))
        running = any(row["live"] for row in found["rows"])
        live = (SOON if running else LATER) if found["first"] else None
        return Shown("overview.html.j2", {**found, "title": "Requests", "live": live})

    def to_overview(self, _: Asked) -> Shown:
        """What is above all projects."""
        return Shown("", location="/")

    def request(self, asked: Asked) -> Shown:
        """One request at a glance."""
        self._known(asked["project"])
        found = requests.request(self._database, asked["project"])
        now = found["now"]
        over = now["complete"] or (now["open_project"] is None and not now["live"])
        done = int(100 * now["committed"] / now["files"]) if now["files"] else 100
        title = now["request"] if now["complete"] else f"{done} % {now['request']}"
        drawn = self._figures.of(found)
        live = None if over else SOON if now["live"] else LATER
        return Shown("request.html.j2", {**found, "figures": drawn, "title": title, "live": live})

    def processes(self, asked: Asked) -> Shown:
        """The processes of a request, newest first."""
        name, request, of = self._of(asked)
        which = asked.get("state", "all")
        if which not in STATES:
            raise Missing("state", which, f"processes cannot be narrowed to {which!r}", _states(name))
        before = _number(asked, "before", newest.TOP)
        page = newest.processes(self._database, request, of, states=STATES[which], before=before)
        context = {"page": page, "which": which, "states": list(STATES), "first": before == newest.TOP}
        return self._part("processes", name, request, context, live=before == newest.TOP)

    def parked(self, asked: Asked) -> Shown:
        """The parked files of a request."""
        name, request, of = self._of(asked)
        after = _number(asked, "after", 0)
        page = newest.parked(self._database, of, after=after)
        return self._part("parked", name, request, {"page": page, "first": after == 0}, live=False)

    def outputs(self, asked: Asked) -> Shown:
        """The outputs of a request, newest first."""
        name, request, of = self._of(asked)
        before = _number(asked, "before", newest.TOP)
        page = newest.outputs(self._database, request, of, before=before)
        context = {"page": page, "first": before == newest.TOP}
        return self._part("outputs", name, request, context, live=before == newest.TOP)

    def events(self, asked: Asked) -> Shown:
        """What happened to a request, newest first."""
        name, request, of = self._of(asked)
        before = _number(asked, "before", newest.TOP)
        page = newest.events(self._database, of, before=before)
        return self._part(
            "events", name, request, {"page": page, "first": before == newest.TOP}, live=before == newest.TOP
        )

    def process(self, asked: Asked) -> Shown:
        """One process."""
        number = _id(asked["process"])
        if number is None:
            raise Missing("process", asked["process"], f"{asked['process']!r} is no number of a process", [])
        after = _number(asked, "after", 0)
        found = processes.process(self._database, number, after=after, with_logs=self._logs)
        live = SOON if found["is_live"] and not after else None
        context = {**found, "title": f"Process {number}", "live": live, "first": after == 0}
        return Shown("process.html.j2", context, kept=not found["logs"])

    def file(self, asked: Asked) -> Shown:
        """One file, and all that became of it."""
        name = asked.get("name", "")
        try:
            found = history.file(self._database, name, before=_number(asked, "before", newest.TOP))
        except NotFound as error:
            near = [
                _link(one, f"/files?name={quote(one, safe='')}") for one in history.near_files(self._database, name)
            ]
            raise Missing("file", name, "no file has this name", near) from error
        held = any(row["state"] == "held" for row in found["stands"])
        context = {"title": name, "live": SOON if held else None, "first": "before" not in asked}
        return Shown("file.html.j2", {"name": name, **found, **context})

    def nodes(self, _: Asked) -> Shown:
        """All nodes."""
        return Shown("nodes.html.j2", {**history.all_nodes(self._database), "title": "Nodes", "live": LATER})

    def search(self, asked: Asked) -> Shown:
        """Whatever has this name: a process, a project or a file."""
        wanted = asked.get("q", "").strip()
        if not wanted:
            return Shown("", location="/")
        number = _id(wanted)
        if number is not None and self._database.one(processes.PROCESS, {"process": number}):
            return Shown("", location=f"/processes/{number}")
        if wanted in (near := history.near_projects(self._database, wanted)):
            return Shown("", location=f"/projects/{quote(wanted, safe='')}")
        if history.exists(self._database, wanted):
            return Shown("", location=f"/files?name={quote(wanted, safe='')}")
        links = [_link(one, f"/projects/{quote(one, safe='')}") for one in near]
        links += [
            _link(one, f"/files?name={quote(one, safe='')}") for one in history.near_files(self._database, wanted)
        ]
        raise Missing("thing", wanted, "no project, process or file is called so", links)

    def nowhere(self, asked: Asked) -> Shown:
        """What is no page."""
        path = f"/projects/{asked['path']}/{asked['more']}" if "more" in asked else f"/{asked['path']}"
        raise Missing("page", path, "there is no such page", [_link("all requests", "/")])

    def _known(self, name: str) -> None:
        if self._database.one("SELECT 1 AS known FROM projects WHERE name = :name", {"name": name}) is None:
            near = [
                _link(one, f"/projects/{quote(one, safe='')}") for one in history.near_projects(self._database, name)
            ]
            raise Missing("project", name, "no project has this name", near)

    def _of(self, asked: Asked) -> tuple[str, str, list[dict[str, Any]]]:
        """Return the project that was named, its request, and the projects of that."""
        self._known(asked["project"])
        request = str(self._database.rows(recovery.REQUEST_OF, {"name": asked["project"]})[0]["name"])
        return asked["project"], request, newest.projects(self._database, request)

    def _part(self, what: str, name: str, request: str, context: dict[str, Any], *, live: bool) -> Shown:
        known = {"project": name, "request": request, "title": f"{what.capitalize()} of {request}"}
        return Shown(
            f"{what}.html.j2", {**context, **known, "at": self._database.now(), "live": LATER if live else None}
        )


def _link(text: str, path: str) -> dict[str, str]:
    return {"text": text, "path": path}


def _states(project: str) -> list[dict[str, str]]:
    return [_link(one, f"/projects/{quote(project, safe='')}/processes?state={quote(one)}") for one in STATES]


def _number(asked: Asked, key: str, default: int) -> int:
    """Return a key of a page; what is none means the first page."""
    found = _id(asked.get(key, ""))
    return default if found is None else found


def _id(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
