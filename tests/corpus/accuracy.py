"""How well the shipped rules label the corpus, as Markdown.

``python tests/corpus/accuracy.py`` prints it, ``--write`` puts it into ``docs/explanation/classification.md`` between
the two marks; a test holds that the page is current.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bookkeeper.failures import Evidence, Explanation, FailureCategory, default_rules, explain

CORPUS: Final = Path(__file__).parent
PAGE: Final = CORPUS.parents[1] / "docs" / "explanation" / "classification.md"
SPLITS: Final = ("seen", "unseen")
BEGIN: Final = "<!-- begin: python tests/corpus/accuracy.py --write -->"
END: Final = "<!-- end -->"
FIELDS: Final = (
    ("message", "exceptions", "stderr"),
    ("exit_code", "signal", "hold_code", "hold_subcode", "state", "step"),
)


@dataclass(frozen=True)
class Judged:
    """An entry of the corpus and what the rules made of it."""

    entry: dict[str, Any]
    explanation: Explanation

    @property
    def label(self) -> FailureCategory:
        return FailureCategory(self.entry["category"])

    @property
    def right(self) -> bool:
        return self.explanation.category is self.label


def entries(split: str) -> list[dict[str, Any]]:
    """The entries of a split of the corpus, in the order of its file."""
    found: list[dict[str, Any]] = tomllib.loads((CORPUS / f"{split}.toml").read_text(encoding="utf-8"))["entry"]
    return found


def evidence(entry: dict[str, Any]) -> Evidence:
    """The evidence of an entry: all that a classifier is given, without the label and its reasons."""
    return Evidence.from_mapping({key: entry[key] for keys in FIELDS for key in keys if key in entry})


def judge(split: str) -> list[Judged]:
    """Every entry of a split, explained by the shipped rules."""
    rules = default_rules()
    return [Judged(entry, explain(evidence(entry), rules)) for entry in entries(split)]


def accuracy(judged: list[Judged]) -> float:
    """The share of entries whose category is the label, 0 to 1."""
    return sum(one.right for one in judged) / len(judged)


def recall(judged: list[Judged], category: FailureCategory) -> float:
    """The share of the entries of a category that were given it, 0 to 1."""
    return accuracy([one for one in judged if one.label is category])


def precision(judged: list[Judged], category: FailureCategory) -> float:
    """The share of the entries that were given a category and are of it, 0 to 1; 1 where none was given it."""
    given = [one for one in judged if one.explanation.category is category]
    return accuracy(given) if given else 1.0


def confusion(judged: list[Judged]) -> Counter[tuple[FailureCategory, FailureCategory]]:
    """How many entries there are of each pair of label and given category."""
    return Counter((one.label, one.explanation.category) for one in judged)


def markdown() -> str:
    """The accuracy on both splits and the confusion matrix of each, ending in a line break."""
    both = {split: judge(split) for split in SPLITS}
    lines = ["| | entries | right | accuracy |", "| --- | ---: | ---: | ---: |"]
    for split, judged in both.items():
        lines.append(f"| {split} | {len(judged)} | {sum(one.right for one in judged)} | {accuracy(judged):.1%} |")
    for split, judged in both.items():
        lines += ["", *_matrix(split, judged)]
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The text of the page with the numbers of now between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{PAGE.name} lacks the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{markdown()}\n{END}{after}"


def _matrix(split: str, judged: list[Judged]) -> list[str]:
    """A confusion matrix: a row per label, a column per given category."""
    counts = confusion(judged)
    head = [f"{split}: is ↓, called →", *(f"`{given}`" for given in FailureCategory), "recall", "precision"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for label in FailureCategory:
        cells = [str(counts[label, given] or "·") for given in FailureCategory]
        shares = [f"{recall(judged, label):.0%}", f"{precision(judged, label):.0%}"]
        lines.append("| " + " | ".join([f"`{label}`", *cells, *shares]) + " |")
    return lines


def main() -> None:
    """Print the Markdown, or write it into the page."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--write", action="store_true", help=f"write it into {PAGE.name}")
    if parser.parse_args().write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(markdown(), end="")


if __name__ == "__main__":
    main()
