"""Where a token is found, and that it is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bookkeeper.client.token import token_of
from bookkeeper.errors import UsageError


def test_the_environment_goes_before_files(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_text("of-the-file\n")
    file.chmod(0o600)
    (tmp_path / "bookkeeper").mkdir()
    default = tmp_path / "bookkeeper" / "token"
    default.write_text("of-the-settings")
    default.chmod(0o600)
    everything = {"XDG_CONFIG_HOME": str(tmp_path), "BOOKKEEPER_TOKEN_FILE": str(file), "BOOKKEEPER_TOKEN": " said\n"}
    assert token_of(everything) == "said"
    del everything["BOOKKEEPER_TOKEN"]
    assert token_of(everything) == "of-the-file"
    del everything["BOOKKEEPER_TOKEN_FILE"]
    assert token_of(everything) == "of-the-settings"
    default.unlink()
    assert token_of(everything) is None


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "ünicode", "", "x" * 20_000])
def test_what_is_no_token_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    file = tmp_path / "t"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(UsageError) as error:
        token_of({"BOOKKEEPER_TOKEN_FILE": str(file)})
    assert not text or text not in str(error.value)


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "t"
    file.write_text("secret")
    file.chmod(0o644)
    with pytest.raises(UsageError, match="others may read") as error:
        token_of({"BOOKKEEPER_TOKEN_FILE": str(file)})
    assert error.value.remedy == f"chmod 600 {file}"


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there") as error:
        token_of({"BOOKKEEPER_TOKEN_FILE": str(tmp_path / "none")})
    assert "bookkeeper token create" in error.value.remedy
    assert "unset BOOKKEEPER_TOKEN_FILE" in error.value.remedy
