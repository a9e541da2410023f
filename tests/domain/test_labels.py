"""Labels of accounts: what a label is, and their one text."""

import pytest

from sidecar.domain.labels import MAX_LABELS, is_text, labels_of, read_label, text_of


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plan=pro", ("plan", "pro")),
        ("plan=", ("plan", "")),
        ("a=" + "b" * 40, ("a", "b" * 40)),
        ("-=1", ("-", "1")),
        ("plan", None),
        ("=pro", None),
        ("", None),
        ("plan=Pro", None),
        ("plan=pro=x", None),
        ("plan=pro ", None),
        ("plan=pro\n", None),
        ("plan=pro x=y", None),
        ("a" * 41 + "=b", None),
        ("a=" + "b" * 41, None),
        ("plän=pro", None),
        ("plan=١", None),
    ],
)
def test_a_label_is_read_strictly(written, read):
    assert read_label(written) == read


def test_labels_have_one_text():
    labels = {"region": "eu", "plan": "pro"}
    text = text_of(labels)
    assert text == "plan=pro region=eu"
    assert labels_of(text) == labels
    assert is_text(text)
    assert (text_of({}), labels_of("")) == ("", {})


@pytest.mark.parametrize(
    "text", ["", "plan", "plan=", "region=eu plan=pro", "a=1 a=2", "a=1  b=2", " a=1", "a=1 ", "a=1\n", "A=1"]
)
def test_another_text_is_none(text):
    assert not is_text(text)


def test_the_number_of_labels_is_bounded():
    labels = [f"l{number:02}=x" for number in range(MAX_LABELS + 1)]
    assert is_text(" ".join(labels[:-1]))
    assert not is_text(" ".join(labels))
