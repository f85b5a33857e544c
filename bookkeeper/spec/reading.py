"""Read a spec, and say in words what is wrong with it: all of it, with the lines."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bookkeeper.errors import SpecError
from bookkeeper.plugins import Plugins
from bookkeeper.spec.datasets import filled, parted
from bookkeeper.spec.executor import ExecutorTable
from bookkeeper.spec.extensions import PluginsTable, extension_problems
from bookkeeper.spec.lines import Place, line_of, lines_of
from bookkeeper.spec.model import JobTable, OutputTable, Spec, cross_checks, travel_problems
from bookkeeper.spec.retrying import RetryTable

M = TypeVar("M", bound=BaseModel)
Problem = tuple[Place, str]

_WANTED: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}
_SYNTAX: Final = re.compile(r"(.*?)\s*\(at (?:line (\d+), column \d+|end of document)\)", re.DOTALL)


def load(path: str | os.PathLike[str]) -> Spec:
    """Read the spec in a file; ``FILE@DATASET`` is that of one dataset (`bookkeeper.spec.datasets`).

    Raises `SpecError`, a line of it for each fault: ``file:line: key: what``.
    """
    file, dataset = parted(Path(path))
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{file}: cannot be read: {error.strerror}", remedy="name a spec, a TOML file") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: is no text in UTF-8", remedy="name a spec, a TOML file") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        match = _SYNTAX.fullmatch(str(error))
        what, line = match.groups() if match else (str(error), None)
        raise SpecError(f"{file}{f':{line}' if line else ''}: no valid TOML: {what}") from error
    except RecursionError as error:
        raise SpecError(f"{file}: no valid TOML: nested too deeply") from error
    content = filled(content, file, dataset)
    folder = file.absolute().parent
    loaded, problems = _extended(content, folder)
    problems = _problems(content) + problems
    if problems:
        lines = lines_of(text)
        raise SpecError("\n".join(_in_words(file, problem, lines) for problem in problems))
    spec = Spec.model_validate({**content, "folder": folder})
    spec._loaded = loaded
    return spec


def _extended(content: Mapping[str, Any], folder: Path) -> tuple[Plugins, list[Problem]]:
    """Load the plug-ins of a spec; return also what is wrong with them and with what they should offer."""
    table = _right(PluginsTable, content.get("plugins", {})) or PluginsTable()
    loaded, faults = table.load_all(folder)
    problems: list[Problem] = [(("plugins", "modules", number), what) for number, what in faults]
    executor = _right(ExecutorTable, content.get("executor", {}))
    outputs = [(place, _right(OutputTable, one)) for place, one in _outputs(content)]
    judged = [((*place, "validate"), one.validation) for place, one in outputs if one is not None]
    if not faults:  # what is missing would be offered by a module that is broken
        problems += extension_problems(loaded, executor.kind if executor else None, judged)
    retry = _right(RetryTable, content.get("retry", {}))
    try:
        if retry is not None:
            retry.own_rules(folder)
    except SpecError as error:
        problems += [(("retry", "rules"), line) for line in str(error).splitlines()]
    return loaded, problems


def _outputs(content: Mapping[str, Any]) -> list[tuple[Place, Any]]:
    given = content.get("output")
    outputs = [given] if isinstance(given, dict) else given
    return [(("output", number), one) for number, one in enumerate(outputs)] if isinstance(outputs, list) else []


def _problems(content: Mapping[str, Any]) -> list[Problem]:
    """Return everything that is wrong; what is wrong between tables only where these are right by themselves."""
    problems: list[Problem] = []
    if "folder" in content:
        problems.append((("folder",), _unknown("folder", Spec)))
    try:
        Spec.model_validate({key: value for key, value in content.items() if key != "folder"})
    except ValidationError as error:
        problems += [_told(one, content) for one in error.errors(include_url=False)]
    parsed = [_right(OutputTable, one) for _, one in _outputs(content)]
    whole = [one for one in parsed if one is not None]
    right = parsed and len(whole) == len(parsed)
    job, executor = _right(JobTable, content.get("job")), _right(ExecutorTable, content.get("executor", {}))
    problems += cross_checks(job, whole if right else None)
    if job and executor and right:
        problems += travel_problems(job, whole, executor)
    return problems


def _right(model: type[M], content: Any) -> M | None:
    try:
        return model.model_validate(content)
    except ValidationError:
        return None


def _told(error: ErrorDetails, content: Mapping[str, Any]) -> Problem:
    """Return place and words of one fault that pydantic found."""
    place, kind, value = tuple(error["loc"]), error["type"], error.get("input")
    context = error.get("ctx", {})
    if kind == "missing":
        what = "is missing"
    elif kind == "extra_forbidden":
        what = _unknown(str(place[-1]), _model_at(place[:-1]))
    elif kind == "value_error":
        what = str(context["error"])
    elif kind in _WANTED:
        what = f"must be {_WANTED[kind]}" + (
            "" if place[0] == "notify" else f", not {value!r:.80}"
        )  # no secret is told
    elif kind == "greater_than_equal":
        what = f"must be {context['ge']} or more, not {value!r}"
    elif kind == "less_than_equal":
        what = f"must be {context['le']} or less, not {value!r}"
    elif kind in ("too_short", "string_too_short"):
        what = "must not be empty"
    elif kind == "string_pattern_mismatch":
        what = f"has a character that cannot be: {value!r:.80}"
    else:
        what = error["msg"]
    return place, what


def _unknown(key: str, model: type[BaseModel]) -> str:
    allowed = [field.alias or name for name, field in model.model_fields.items() if not field.exclude]
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown key; {hint}allowed: {', '.join(allowed)}"


def _model_at(place: Iterable[str | int]) -> type[BaseModel]:
    """Return the model of the table at a place."""
    model: type[BaseModel] = Spec
    for step in place:
        if isinstance(step, str):
            model = next(iter(_models_in(model.model_fields[step].annotation)), model)
    return model


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _in_words(file: Path, problem: Problem, lines: Mapping[Place, int]) -> str:
    place, what = problem
    if ("output", 0) not in lines:  # it is written [output]: there is nothing to count
        place = tuple(step for step in place if place[0] != "output" or isinstance(step, str))
    key = "".join(f"[{step + 1}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
    line = line_of(place, lines)
    return f"{file}{f':{line}' if line else ''}: {key}: {what}"
