"""Which patterns can match in a text at all: found by the words of the text, before any pattern is tried."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bookkeeper.failures.lines import Lines
    from bookkeeper.failures.patterns import Pattern
    from bookkeeper.failures.rules import Rule

Tried = tuple[str, tuple[tuple["Pattern", "Rule"], ...]]
"""A literal, and the patterns, with their rules, that need it. The literal of those that need none is empty."""

_WORD = re.compile(r"[a-z]+")


class Index:
    """The patterns of rules by the literals that they need, and these by a word, or a part of one, that is in them."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        by_literal: dict[str, list[tuple[Pattern, Rule]]] = {}
        for rule in rules:
            for pattern in rule.searched:
                for literal in pattern.literals or ("",):
                    by_literal.setdefault(literal, []).append((pattern, rule))
        self._by_word: dict[str, list[Tried]] = {}
        for literal, pairs in by_literal.items():
            word = max(_WORD.findall(literal), key=len, default="")
            self._by_word.setdefault(word, []).append((literal, tuple(pairs)))

    def present(self, lines: Lines) -> Iterator[Tried]:
        """Give the patterns whose literal stands in the lines."""
        words, text = lines.words, lines.text
        for word, tried in self._by_word.items():
            if word in words:
                for one in tried:
                    if one[0] in text:
                        yield one
