"""Ceilings of vague words and of sentence length, over docstrings, comments and documents (CONTRIBUTING.md, Style)."""

from pathlib import Path

import pytest

from tests.house.prose import CEILINGS, MEDIAN, P95, Prose, Report, passages


def corpus(name: str, root: Path, tracked: list[Path]) -> Report:
    """Return the report of the tracked files below `name`, or of all documents."""
    if name == "documents":
        paths = [path for path in tracked if path.suffix == ".md"]
    else:
        paths = [path for path in tracked if path.suffix == ".py" and path.is_relative_to(root / name)]
    return Report([passage for path in paths for passage in passages(path)])


def offenders(report: Report) -> str:
    """Return the sentences that raise an exceeded rate, one per line."""
    faults = report.faults()
    hits = [f"[{pattern}] {hit}" for pattern in CEILINGS if pattern in faults for hit in report.hits(pattern)]
    return "\n".join([*(f"{name}: {fault}" for name, fault in faults.items()), *hits, *report.long()])


@pytest.mark.parametrize("name", ["sidecar", "tests", "documents"])
def test_prose_is_below_the_ceilings(name: str, root: Path, tracked: list[Path]) -> None:
    report = corpus(name, root, tracked)
    assert sum(report.lengths) > 5_000
    assert report.faults() == {}, offenders(report)


@pytest.mark.parametrize("text", ["what", "whoever", "nobody", "told", "lies"])
def test_a_vague_word_is_found(text: str) -> None:
    report = Report([Prose("module.py:1", f"A record that {text} the lease.")])
    assert len(report.faults()) == 1
    assert f"module.py:1: A record that {text} the lease." in offenders(report)


@pytest.mark.parametrize("length", [MEDIAN + 1, P95 + 1])
def test_a_long_sentence_is_found(length: int) -> None:
    report = Report([Prose("module.py:1", f"{'Lease ' * length}ends.")])
    assert ("median" in report.faults(), "p95" in report.faults()) == (True, length >= P95)
    assert ("module.py:1" in offenders(report)) is (length >= P95)


def test_every_kind_of_passage_is_read(tmp_path: Path) -> None:
    module, document = tmp_path / "module.py", tmp_path / "page.md"
    module.write_text(
        '"""Module."""\n\n\nclass Lease:\n    """Class."""\n\n    x = 1\n    """Attribute."""\n    # Comment.\n'
    )
    document.write_text("# Heading\n\nParagraph.\n\n```sh\nwhat\n```\n")
    read = [sentence for path in (module, document) for passage in passages(path) for sentence in passage.sentences]
    assert read == ["Module.", "Class.", "Attribute.", "Comment.", "# Heading", "Paragraph."]
