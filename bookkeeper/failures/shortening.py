"""Keep of a long text what explains a failure."""

from __future__ import annotations

from typing import Final

GAP: Final = "[…]"
_LINE: Final = 400  # characters of a line that are kept
_CAUSES: Final = 5  # lines that speak for something, with what stands around them


def informative(text: str, length: int) -> str:
    """Return at most ``length`` characters of a text: the lines that explain most, with their neighbours, and the tail."""
    if len(text) <= length:
        return text
    from bookkeeper.failures.evidence import Evidence
    from bookkeeper.failures.explanation import matches
    from bookkeeper.failures.lines import lines_of

    evidence = Evidence(stderr=text)
    rows = lines_of(evidence).texts
    found = sorted(matches(evidence), key=lambda match: match.rank, reverse=True)
    causes = list(dict.fromkeys(match.line for match in found if match.line is not None))[:_CAUSES]
    marks = {match.line: match.evidence for match in reversed(found) if match.line is not None}
    wanted: dict[int, str] = {}
    room = length - len(GAP) * (2 * _CAUSES + 2)
    for line in causes:
        for number in (line, line - 1, line + 1):
            if 0 <= number < len(rows) and number not in wanted and room > length // 3:
                row = rows[number] if len(rows[number]) <= _LINE else marks.get(number, rows[number][:_LINE])
                wanted[number] = row
                room -= len(row) + 1
    for number in range(len(rows) - 1, -1, -1):
        if number in wanted:
            continue
        row = rows[number][:_LINE]
        if len(row) + 1 > room:
            break
        wanted[number] = row
        room -= len(row) + 1
    return _joined(wanted)[:length]


def _joined(wanted: dict[int, str]) -> str:
    """Return the lines in their order, with a mark where some are missing."""
    parts, before = [], -1
    for number in sorted(wanted):
        if number != before + 1:
            parts.append(GAP)
        parts.append(wanted[number])
        before = number
    return "\n".join(parts)
