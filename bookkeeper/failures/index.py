"""Which patterns can match in a text at all: found by the words of the text, before any pattern is tried."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bookkeeper.failures.lines import Lines
    from bookkeeper.failures.patterns import Pattern
    from bookkeeper.failures.rules import Rule

Tried = tuple[str, tuple[tuple["Pattern", "Rule"], ...]]
"""A literal, and the patterns, with their rules, that need it. The literal of those that need none is empty."""

_Triple = tuple[str, str, str]
"""Three letters that follow each other: those of a word are looked for before the word is."""

_WORD = re.compile(r"[a-z]+")


class Index:
    """The patterns of rules by the literals that they need, and these by a word, or a part of one, that is in them."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        by_literal: dict[str, list[tuple[Pattern, Rule]]] = {}
        for rule in rules:
            for pattern in rule.searched:
                for literal in pattern.literals or ("",):
                    by_literal.setdefault(literal, []).append((pattern, rule))
        by_word: dict[str, list[Tried]] = {}
        for literal, pairs in by_literal.items():
            word = max(_WORD.findall(literal), key=len, default="")
            by_word.setdefault(word, []).append((literal, tuple(pairs)))
        shared = Counter(triple for word in by_word for triple in _triples(word))
        self._by_triple: dict[_Triple, list[tuple[str, list[Tried]]]] = {}
        self._short: list[tuple[str, list[Tried]]] = []  # words of less than three letters
        for word, tried in by_word.items():
            rarest = min(_triples(word), key=shared.__getitem__, default=None)
            place = self._short if rarest is None else self._by_triple.setdefault(rarest, [])
            place.append((word, tried))

    def present(self, lines: Lines) -> Iterator[Tried]:
        """Give the patterns whose literal stands in the lines."""
        words, text, triples = lines.words, lines.text, lines.triples
        possible = [known for triple, known in self._by_triple.items() if triple in triples]
        for word, tried in chain(self._short, *possible):
            if word in words:
                for one in tried:
                    if one[0] in text:
                        yield one


def _triples(word: str) -> list[_Triple]:
    return list(zip(word, word[1:], word[2:], strict=False))
