"""Rates of vague words and lengths of sentences. ``python -m tests.house.prose PATH…`` prints the offenders.

The ceilings are the highest rates found in the docstrings of h11, python-tuf, starlette, argon2-cffi, svcs and uvicorn.
"""

import ast
import io
import re
import statistics
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CEILINGS: Final = {
    r"what|whatever": 2.0,
    r"who|whom|whose|whoever": 1.0,
    r"somebody|someone|anybody|anyone|everybody|everyone|nobody": 0.5,
    r"tell|tells|told|telling|say|says|said|saying": 1.0,
    r"stand|stands|stood|standing|lie|lies|lay|lying": 0.5,
}
"""Occurrences per 1,000 words."""

MEDIAN: Final = 18
"""Words of a sentence."""

P95: Final = 35

_CODE: Final = re.compile(r"```.*?```|~~~.*?~~~|``[^`]+``|`[^`]+`", re.DOTALL)
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z'’-]*")
_END: Final = re.compile(r"(?<=[.!?])[)\"'’”]*\s+|\n\s*\n|\n\s*(?=[-*#>|]|\d+\. )|\s\|\s|^\||\|$", re.MULTILINE)


@dataclass(frozen=True)
class Prose:
    """One passage: where it begins, and its words without code."""

    place: str
    text: str

    @property
    def sentences(self) -> list[str]:
        plain = _LINK.sub(r"\1", _CODE.sub(lambda match: "\n\n" if "\n" in match[0] else "code", self.text))
        return [" ".join(part.split()) for part in _END.split(plain) if part and _WORD.search(part)]


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def docstrings(path: Path) -> Iterator[Prose]:
    """Docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for statement in getattr(node, "body", ()) if not isinstance(node, ast.Lambda | ast.IfExp) else ():
            if (
                isinstance(statement, ast.Expr)
                and isinstance(statement.value, ast.Constant)
                and isinstance(statement.value.value, str)
            ):
                yield Prose(f"{path}:{statement.lineno}", statement.value.value)


def comments(path: Path) -> Iterator[Prose]:
    """Comments; those on adjacent lines are one passage."""
    passage: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type != tokenize.COMMENT:
            continue
        if passage and token.start[0] != last + 1:
            yield Prose(f"{path}:{first}", " ".join(passage))
            passage = []
        if not passage:
            first = token.start[0]
        last = token.start[0]
        passage.append(re.sub(r"^#+\s?(?:-{3,})?|noqa:? ?[\w, ]*|type: ignore\S*|-{3,}", "", token.string))
    if passage:
        yield Prose(f"{path}:{first}", " ".join(passage))


def document(path: Path) -> Iterator[Prose]:
    """A Markdown document without its code blocks."""
    yield Prose(str(path), path.read_text(encoding="utf-8"))


def passages(path: Path) -> Iterator[Prose]:
    if path.suffix == ".py":
        yield from docstrings(path)
        yield from comments(path)
    elif path.suffix == ".md":
        yield from document(path)


def files(*roots: Path) -> Iterator[Path]:
    """Yield files, and those of folders without hidden ones, such as installed programs."""
    for root in roots:
        below = [path for path in root.rglob("*") if not any(part[0] == "." for part in path.relative_to(root).parts)]
        yield from sorted(below) if root.is_dir() else [root]


@dataclass
class Report:
    """Rates over some passages, and the sentences that exceed or raise them."""

    passages: list[Prose]

    @property
    def lengths(self) -> list[int]:
        return [len(words(sentence)) for passage in self.passages for sentence in passage.sentences] or [0]

    def faults(self) -> dict[str, str]:
        """Return each exceeded ceiling, with the measured rate."""
        lengths = sorted(self.lengths)
        total = sum(lengths) or 1
        found = {}
        for pattern, ceiling in CEILINGS.items():
            rate = 1000 * len(self.hits(pattern)) / total
            if rate > ceiling:
                found[pattern] = f"{rate:.2f} per 1,000 words, at most {ceiling}"
        if (median := statistics.median(lengths)) > MEDIAN:
            found["median"] = f"{median} words a sentence, at most {MEDIAN}"
        if (p95 := lengths[int(len(lengths) * 0.95)] if len(lengths) > 1 else lengths[0]) > P95:
            found["p95"] = f"{p95} words a sentence, at most {P95}"
        return found

    def hits(self, pattern: str) -> list[str]:
        wanted = re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)
        return [
            f"{passage.place}: {sentence}"
            for passage in self.passages
            for sentence in passage.sentences
            for _ in wanted.findall(sentence)
        ]

    def long(self) -> list[str]:
        return [
            f"{passage.place}: ({len(words(sentence))} words) {sentence}"
            for passage in self.passages
            for sentence in passage.sentences
            if len(words(sentence)) > P95
        ]


def report(*roots: Path) -> Report:
    return Report([passage for path in files(*roots) for passage in passages(path)])


if __name__ == "__main__":
    measured = report(*map(Path, sys.argv[1:]))
    for pattern in CEILINGS:
        for hit in measured.hits(pattern):
            print(f"[{pattern.partition('|')[0]}] {hit[:220]}")
    for sentence in measured.long():
        print(f"[long] {sentence[:260]}")
    print(f"{sum(measured.lengths)} words, {len(measured.lengths)} sentences")
    for name, fault in measured.faults().items():
        print(f"FAULT {name}: {fault}")
