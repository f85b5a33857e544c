"""``[plugins]`` and ``[[notify]]``: code of others, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator

from bookkeeper import plugins
from bookkeeper.errors import UsageError
from bookkeeper.plugins import Notify, Plugins
from bookkeeper.plugins.notify import OCCASIONS
from bookkeeper.spec.values import Table, Word, in_folder


class PluginsTable(Table):
    """``[plugins]``: modules with hooks, files or names to import."""

    modules: list[Word] = Field(default_factory=list)

    def places(self, folder: Path) -> tuple[str, ...]:
        """Return the modules: files by absolute paths, others by name."""
        return tuple(in_folder(folder, one) if one.endswith(".py") else one for one in self.modules)

    def load(self, folder: Path) -> Plugins:
        """Load what is installed, and these modules. Raises `UsageError`."""
        return plugins.load(self.places(folder))

    def load_all(self, folder: Path) -> tuple[Plugins, list[tuple[int, str]]]:
        """Load as `load`; return also what is wrong with which module, instead of raising."""
        loaded, problems = plugins.load(), []
        for number, module in enumerate(self.places(folder)):
            try:
                plugins.add_module(loaded, module)
            except UsageError as error:
                problems.append((number, f"{error}; {error.remedy}".rstrip("; ")))
        return loaded, problems


class NotifyTable(Table):
    """``[[notify]]``: on what occasions to tell, and where. The address is a secret, and is never shown."""

    on: Annotated[list[Word], Field(min_length=1)]
    url: SecretStr | None = None
    url_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    url_file: Word | None = None
    title: Word | None = None

    @field_validator("on")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        if unknown := [one for one in value if one not in OCCASIONS]:
            raise ValueError(f"nobody is told of {unknown[0]!r:.40}; allowed: {', '.join(OCCASIONS)}")
        return value

    @model_validator(mode="after")
    def _one_address(self) -> NotifyTable:
        if sum(one is not None for one in (self.url, self.url_env, self.url_file)) != 1:
            raise ValueError('needs exactly one of url_env = "VARIABLE", url_file = "PATH" and url = "scheme://…"')
        if self.url is not None and not self.url.get_secret_value().strip():
            raise ValueError("url must not be empty")
        return self

    def as_notify(self, folder: Path) -> Notify:
        """Return it as the plug-ins know it."""
        return Notify(
            on=tuple(self.on),
            url=self.url.get_secret_value() if self.url else None,
            url_env=self.url_env,
            url_file=in_folder(folder, self.url_file) if self.url_file else None,
            title=self.title,
        )


def extension_problems(
    loaded: Plugins, kind: str | None, validations: list[tuple[tuple[str | int, ...], object]]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (place, problem) of what is asked for by a name that nobody offers: an executor, or a validator."""
    from bookkeeper import executors
    from bookkeeper.spec.model import JUDGES, LEVELS

    try:
        known, validators = executors.kinds(loaded), loaded.validators()
        loaded.notifiers()
    except UsageError as error:
        yield ("plugins",), f"{error}"
        return
    if kind is not None and kind not in known:
        yield (
            ("executor", "kind"),
            f"{kind!r} is not known here; this version runs kind = {' or '.join(map(repr, known))}",
        )
    for place, value in validations:
        if isinstance(value, str) and value not in LEVELS and value not in validators:
            offered = f" ({', '.join(sorted(validators))})" if validators else ""
            yield place, f"must be {JUDGES}{offered}, not {value!r}"
