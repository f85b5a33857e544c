"""The reference page of the protocol of jobs over HTTP, made from the messages: `pages` gives it to `generate.py`."""

from __future__ import annotations

import inspect
import json
from typing import Any, Final

from bookkeeper import wire
from bookkeeper.errors import BookkeeperError
from bookkeeper.protocol import Ledger
from bookkeeper.server.limits import TooLarge, TooMany
from bookkeeper.server.openapi import REFUSALS, verbs
from bookkeeper.server.statuses import STATUSES
from bookkeeper.server.workers import DURABLE, PREFIX

HEAD: Final = """\
# The protocol of jobs over HTTP

<!-- Made by `python docs/generate.py`. -->

What a job says to a [server](../how-to/server.md). `bookkeeper work` and the Python interface speak it by themselves;
this page is for whoever writes a client in another language. The same is at `/v1/openapi.json` of every server, and as
a page to try it at `/v1/docs`.

* A verb is `POST {prefix}VERB` with an object in JSON. Numbers are numbers; a field of a call that is not known
  is refused.
* The body names the process by its number. `Authorization: Bearer TOKEN` carries its token: the `nonce` by which
  the job introduced itself, a secret of its own that it makes anew at every start. `start_process` alone takes the token
  of whoever may submit (none on a server that was started with `--open`).
* Every answer says `Bookkeeper-Protocol: {protocol}`. A client that speaks another version stops there.
* **Every verb may be repeated** until it is answered, and is answered the same: `start_process` by its nonce, `next_files` by
  its `seq`, `record` by its `once` (as long as the server is not restarted), all others by the state of the process.
* An error is `{{"error": CLASS, "message": …, "remedy": …}}`. The classes are those of the [exit codes](exit-codes.md).
  The status of the answer says about the same.
* `503` and `429` mean that nothing was done: come again after `Retry-After` seconds, and not all at once. On a broken
  connection, or `502` and `504` of a gateway, nobody knows: say the same again.
* `410` (`Fenced`) means stop: the process was rolled back, and its files went to others.
"""


def page() -> str:
    """Return the page."""
    paths, schemas = verbs()
    parts = [HEAD.format(prefix=PREFIX, protocol=wire.PROTOCOL), "\n## Verbs\n"]
    for verb in wire.CALLS:
        parts.append(_verb(verb, paths[PREFIX + verb]["post"]))
    parts.append("\n## Messages\n")
    parts += [_message(name, schema) for name, schema in sorted(schemas.items()) if schema.get("properties")]
    parts += [
        f"\n### {name}\n\n{_words(schema)}: {', '.join(f'`{one}`' for one in schema['enum'])}.\n"
        for name, schema in sorted(schemas.items())
        if "enum" in schema
    ]
    parts.append("\n## Statuses of errors\n\n| status | means |\n|---|---|\n")
    parts += [f"| {status} | {why} |\n" for status, why in REFUSALS.items()]
    parts.append("\n| class | status |\n|---|---|\n")
    own = {TooLarge, TooMany}
    parts += [f"| `{_class(kind)}` | {status} |\n" for kind, status in STATUSES.items() if kind not in own]
    return "".join(parts)


def _verb(verb: str, described: dict[str, Any]) -> str:
    words = inspect.cleandoc(getattr(Ledger, verb).__doc__ or "").replace("``", "`")
    call, answer = described["requestBody"], described["responses"]["200"]
    lines = [
        f"\n### `{verb}`\n\n{words}\n",
        f"\nTakes {_kind(call['content']['application/json']['schema'])}, answers "
        f"{_kind(answer['content']['application/json']['schema'])}.",
    ]
    if verb in DURABLE:
        lines.append(" Its answer is on disk before it is given.")
    if verb == "next_files":
        lines.append(
            "\n\n| status | `Bookkeeper-Status` | means |\n|---|---|---|\n"
            "| 200 | `files` | here are files |\n"
            "| 200 | `full`, `excluded` | this process gets no more: commit |\n"
            "| 202 | `none now` | others hold files: ask again after `Retry-After`, but only while holding nothing |\n"
            "| 204 | `exhausted` | no more; `Bookkeeper-Project-State` and `Bookkeeper-Partition` tell the rest |\n"
        )
    return "".join([*lines, "\n"])


def _message(name: str, schema: dict[str, Any]) -> str:
    words = _words(schema)
    required = set(schema.get("required", ()))
    rows = "".join(
        f"| `{field}` | {_kind(kind)} | {'' if field in required else _default(kind)} |\n"
        for field, kind in schema["properties"].items()
    )
    return f"\n### {name}\n\n{words}\n\n| field | type | if left out |\n|---|---|---|\n{rows}"


def _words(schema: dict[str, Any]) -> str:
    words = inspect.cleandoc(schema.get("description", "")).replace("``", "`").split("\n\n")[0]
    return words.removesuffix(".") if "enum" in schema else words


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_kind(one) for one in schema['prefixItems'])}]"
        items = schema.get("items")
        return f"list of {_kind(items)}" if isinstance(items, dict) else "list"
    return str(schema.get("type", "anything"))


def _default(schema: dict[str, Any]) -> str:
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else "as there is"


def _class(kind: type[BookkeeperError]) -> str:
    return kind.__name__
