"""The lines of everything that was said of a failure, in the order in which it happened."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from bookkeeper.failures.evidence import STDERR_MARK, Evidence

HEAD: Final = 1 << 17
TAIL: Final = 3 << 17
"""Characters of the beginning and of the end of a text that are read; a longer middle is passed over."""

MOST_LINES: Final = 100  # lines of one text in which a pattern is tried
LONGEST_WORD: Final = 200
LONGEST_LINE: Final = 2000  # characters of a line around what was found

TRACEBACK: Final = "traceback (most recent call last)"
_LETTERS: Final = bytes(code if 97 <= code <= 122 else 32 for code in range(256))

_BREAK: Final = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_INVISIBLE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x00")
_FRAME: Final = re.compile(r'\s*File "[^"]*", line \d+')
_MARKER: Final = re.compile(r"\s*[\^~]+\s*")


@dataclass
class Lines:
    """Lines with the source of each: ``exception``, ``stderr`` or ``message``. Frames of tracebacks are left out."""

    texts: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def add(self, text: str, source: str) -> None:
        """Add a text, line by line."""
        rows = informative_lines(_window(text))
        self.texts += rows
        self.sources += [source] * len(rows)

    @cached_property
    def _lower(self) -> list[str]:
        return [row.lower() for row in self.texts]

    @cached_property
    def text(self) -> str:
        """All lines in lower case: where a literal is looked for first."""
        return "\n".join(self._lower)

    @cached_property
    def words(self) -> str:
        """Every word of the text once; of what is too long to be one, both ends."""
        words = set(self.text.encode("ascii", "replace").translate(_LETTERS).decode("ascii").split())
        return " ".join(word if len(word) <= LONGEST_WORD else f"{word[:99]} {word[-99:]}" for word in words)

    @cached_property
    def triples(self) -> set[tuple[str, str, str]]:
        """All three letters that follow each other in the words."""
        return set(zip(self.words, self.words[1:], self.words[2:], strict=False))

    @cached_property
    def last_raised(self) -> int:
        """The number of the line in which the last Python traceback names its exception; -1 where there is none."""
        for begin, _ in self.last_holding(TRACEBACK):
            for number in range(begin + 1, len(self.texts)):
                if not self.texts[number].startswith((" ", "\t")):
                    return number
        return -1

    @cached_property
    def _begins(self) -> list[int]:
        begins, position = [], 0
        for row in self._lower:
            begins.append(position)
            position += len(row) + 1
        return begins

    def holding(self, literal: str) -> Iterator[tuple[int, str]]:
        """Give the number and the text of each line that holds a lower-case text; of a long line, what is around it."""
        if literal:
            count, position = 0, self.text.find(literal)
            while position >= 0 and count < MOST_LINES:
                number = bisect_right(self._begins, position) - 1
                yield number, self._around(number, position - self._begins[number])
                count += 1
                if number + 1 == len(self.texts):
                    return
                position = self.text.find(literal, self._begins[number + 1])
        else:
            for number, row in enumerate(self.texts[: 20 * MOST_LINES]):
                yield number, row[:LONGEST_LINE]

    def last_holding(self, literal: str) -> Iterator[tuple[int, str]]:
        """Give the same from the end."""
        count, position = 0, self.text.rfind(literal)
        while position >= 0 and count < MOST_LINES:
            number = bisect_right(self._begins, position) - 1
            yield number, self._around(number, position - self._begins[number])
            count += 1
            position = self.text.rfind(literal, 0, self._begins[number]) if number else -1

    def _around(self, number: int, position: int) -> str:
        row = self.texts[number]
        if len(row) <= LONGEST_LINE:
            return row
        begin = max(0, position - LONGEST_LINE // 2)
        return row[begin : begin + LONGEST_LINE]


def lines_of(evidence: Evidence) -> Lines:
    """Return the lines of a failure: what the command printed, then the exceptions from the root on, then the message."""
    lines = Lines()
    wrapped = [said.partition(STDERR_MARK) for _, said in evidence.exceptions]
    for _, _, inside in reversed(wrapped):
        if inside and inside not in evidence.stderr:
            lines.add(inside, "stderr")
    if evidence.stderr:
        before, mark, inside = evidence.stderr.partition(STDERR_MARK)
        lines.add(f"{inside}\n{before}" if mark else before, "stderr")
    for (name, _), (outside, _, _) in zip(reversed(evidence.exceptions), reversed(wrapped), strict=True):
        lines.add(f"{name}: {outside}" if outside else name, "exception")
    before, mark, inside = evidence.message.partition(STDERR_MARK)
    if mark:
        lines.add(inside, "stderr")
    lines.add(before, "message")
    return lines


def informative_lines(text: str) -> list[str]:
    """Return the lines of a text without empty ones, invisible characters, and the frames of Python tracebacks."""
    rows: list[str] = []
    in_frame = 0
    for raw in _BREAK.split(text):
        row = _INVISIBLE.sub("", raw).rstrip() if "\x1b" in raw or "\x00" in raw else raw.rstrip()
        if not row:
            continue
        if 'File "' in row and _FRAME.match(row):
            in_frame = len(row) - len(row.lstrip()) + 1
            continue
        if in_frame and len(row) - len(row.lstrip()) > in_frame:
            continue  # the source line of a frame
        in_frame = 0
        if (row[-1] in "^~") and _MARKER.fullmatch(row):
            continue
        rows.append(row)
    return rows


def _window(text: str) -> str:
    if len(text) <= HEAD + TAIL:
        return text
    return f"{text[:HEAD]}\n{text[-TAIL:]}"
