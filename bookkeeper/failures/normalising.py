"""Make messages of the same failure equal, whatever process, file or node they name."""

from __future__ import annotations

import re
from typing import Final

from bookkeeper.failures.evidence import text_of

LONGEST: Final = 200
_READ: Final = 4000  # characters that are looked at

_INVISIBLE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")
_REPLACED: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), word)
    for pattern, word in (
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uuid>"),
        (
            r"\b(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},? )?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
            r"[a-z]{0,6} {1,2}\d{1,2},? (?:\d{4} )?\d{1,2}:\d{2}(?::\d{2})?(?: \d{4})?\b",
            "<time>",
        ),
        (r"\b\d{4}[-/]\d{2}[-/]\d{2}(?:[t _-]\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?(?:z|[+-]\d{2}:?\d{2})?)?", "<time>"),
        (r"\b\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?\b", "<time>"),
        (r"\b([a-z][a-z0-9+.-]{1,15})://[^\s'\"<>()\[\],;]{1,500}", r"\1://<url>"),
        (r"(?<![\w<])(?:~|\.{1,2})?(?:/[^\s/'\"<>()\[\],;:]{1,255}){1,40}/?", "<path>"),
        (r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?::\d{1,5})?\b", "<host>"),
        (r"\b(?:[a-z0-9](?:[a-z0-9-]{0,62})\.){2,6}[a-z]{2,12}(?::\d{1,5})?(?![\w.(])", "<host>"),
        (r"\b0x[0-9a-f]{1,16}\b", "<hex>"),
        (r"\b(?=[a-f]{0,63}\d)(?=\d{0,63}[a-f])[0-9a-f]{8,64}\b", "<hex>"),
        (r"\b[\w.+-]{0,120}?\d[\w.+-]{0,120}\.(?:root|h5|hdf5|parquet|csv|json|txt|npz|npy|gz|tgz|xz|zst|lhe|hepmc|py)\b", "<file>"),
        (r"(?<![a-z0-9])[-+]?\d+(?:\.\d+)?(?:e[-+]?\d{1,3})?", "<n>"),
        (r"\d+", "<n>"),
        (r"\s+", " "),
    )
)  # fmt: skip


def normalise(message: object) -> str:
    """Return a message without what differs between processes: numbers, times, paths, hosts, identifiers.

    At most 200 characters, on one line. Two failures of one cause have the same: it is their *fingerprint*. Codes that
    say what failed are kept: ``exit code 1``, ``signal 9``, ``errno 5``, ``[3011]``, ``HTTP 503``.
    """
    text = _INVISIBLE.sub("", text_of(message)[:_READ])
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match.group())
        return f"\x00{chr(0xE000 + len(kept))}"

    text = _KEPT.sub(keep, text)
    for pattern, word in _REPLACED:
        text = pattern.sub(word, text)
    text = _MARKED.sub(lambda match: kept[ord(match.group(1)) - 0xE001], text)
    return text.strip()[:LONGEST]


_KEPT: Final = re.compile(
    r"\b(?:exit(?:ed)?(?: with)?(?: code| status)?|exitcode|signal|errno|http(?:/\d\.\d)?|status(?: code)?|code|subcode)"
    r"[ =:]{1,3}-?\d{1,6}\b|\[(?:errno )?-?\d{1,5}\]",
    re.IGNORECASE,
)
_MARKED: Final = re.compile("\x00([\ue000-\uf8ff])")
