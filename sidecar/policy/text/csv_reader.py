"""Reader of the policy's text files: bytes → lines → fields.

Rejects text that is invisible to people or that other programs read differently: byte order marks, other encodings,
CR-only line ends, control and invisible characters, a missing last line end. Fields follow RFC 4180, with two
restrictions: a field contains no line end, and a comment has its own line.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.policy.diagnostics import NO_FILE, DiagnosticSink
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.text.confusables import false_sign


class CsvLine(NamedTuple):
    """Line without its line end. Invisible characters are still in it; `visible` removes them."""

    number: int
    text: str


class CsvRecord(NamedTuple):
    """Fields of one line. ``text`` is the whole line, to locate the column of a finding."""

    line: int
    fields: tuple[str, ...]
    text: str

    def at(self, index: int) -> tuple[int, int]:
        """Return line and column at which a field begins, or the line's end if the field does not exist."""
        starts = [start for start, _ in field_spans(self.text)]
        return (self.line, starts[index] + 1 if index < len(starts) else len(self.text) + 1)

    def span(self, index: int) -> tuple[int, int]:
        """Return the indexes in ``text`` of a field's first character and after its last, without its quotes."""
        start, end = field_spans(self.text)[index]
        return (start + 1, end - 1) if self.text[start:end].startswith('"') else (start, end)


NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
"""Id of a role, a section or an action."""
NAME_FORM = "1 to 64 of a-z, 0-9, - and _, a letter or digit first"

_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ASCII_CONTROLS = bytes(byte for byte in range(128) if _CONTROL.match(chr(byte)))
"""ASCII control characters. Searching a file for them is five times as fast as the regex; other work waits for it."""
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5")
"""Letters and marks without a visible glyph, regardless of their Unicode category."""


def read_lines(data: bytes, file: str, findings: DiagnosticSink, *, must_end: bool = True) -> list[CsvLine]:
    """Return the readable lines. An unreadable line is reported and left out."""
    text = _decode(data, file, findings)
    if text is None:
        return []
    lines = [CsvLine(number, part) for number, part in enumerate(text.split("\n"), start=1)]
    if _has_conflict(text, lines, file, findings):
        return []
    last = lines[-1]
    if not last.text:
        lines.pop()
    elif must_end and "\r" not in last.text:
        message = "the last line has no line end: the file may be cut off"
        findings.add(Code.TRUNCATED_FILE, file, (last.number, len(last.text) + 1), message, "end it with a line end")
    if "\r" in text:
        lines = list(_without_carriage_returns(lines, text.count("\n"), file, findings))
    if not text.isascii() or data.translate(None, _ASCII_CONTROLS) != data:
        lines = list(_report_invisible(lines, file, findings))
    return lines


def _has_conflict(text: str, lines: list[CsvLine], file: str, findings: DiagnosticSink) -> bool:
    """Report merge markers, and return whether there are any. Other findings would be meaningless for such a file."""
    if not any(marker in text for marker in ("<<<<<<<", "=======", ">>>>>>>")):
        return False
    markers = [line for line in lines if _CONFLICT.fullmatch(line.text)]
    for line in [line for line in markers if line.text.startswith("<")] or markers[:1]:
        message = f'"{line.text[:40].strip()}": unresolved merge conflict'
        findings.add(Code.MERGE_CONFLICT, file, (line.number, 1), message, "keep the intended side")
    return bool(markers)


_CONFLICT = re.compile(r"(?:<{7}|={7}|>{7})(?: .*)?\r?")


def _decode(data: bytes, file: str, findings: DiagnosticSink) -> str | None:
    if data[:2] in _OTHER_ENCODINGS:
        encoding = _OTHER_ENCODINGS[data[:2]]
        findings.add(Code.NOT_UTF_8, file, (1, 1), f"the file is {encoding}, not UTF-8", "save it as UTF-8")
        return None
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
        findings.add(
            Code.BYTE_ORDER_MARK,
            file,
            (1, 1),
            "the file begins with a byte order mark",
            'save it as "UTF-8", not "UTF-8 with BOM"',
        )
    if not data.strip():
        findings.add(Code.EMPTY_FILE, file, (1, 1), "the file is empty", NO_FILE)
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "\n".join(_decoded_lines(data, file, findings))


def _decoded_lines(data: bytes, file: str, findings: DiagnosticSink) -> Iterator[str]:
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            column = len(line[: error.start].decode()) + 1
            message = f"byte 0x{line[error.start]:02x} is not UTF-8"
            findings.add(Code.NOT_UTF_8, file, (number, column), message, "save the file as UTF-8")
            yield ""


def _without_carriage_returns(
    lines: list[CsvLine], ended: int, file: str, findings: DiagnosticSink
) -> Iterator[CsvLine]:
    for number, text in lines:
        line = text if number > ended else text.removesuffix("\r")
        if "\r" in line:
            message = "a line ends in CR alone: other programs would read this and the next line as one"
            findings.add(Code.CR_LINE_END, file, (number, line.index("\r") + 1), message, "end lines in LF or CR LF")
        else:
            yield CsvLine(number, line)


def _report_invisible(lines: list[CsvLine], file: str, findings: DiagnosticSink) -> Iterator[CsvLine]:
    for line in lines:
        if line.text.isascii() and not _CONTROL.search(line.text):
            yield line
            continue
        comment = line.text.lstrip(" ").startswith("#")
        for column, character in enumerate(line.text, start=1):
            code = _suspicious(character, comment=comment)
            if code is not None:
                name = unicodedata.name(character, "a control character")
                message = f"U+{ord(character):04X} ({name}) is invisible"
                findings.add(code, file, (line.number, column), message, "delete it")
        yield line


def _suspicious(character: str, *, comment: bool) -> Code | None:
    if " " <= character <= "~" or character == "\t":
        return None
    category = unicodedata.category(character)
    if category == "Cc":
        return Code.CONTROL_CHARACTER
    if category in ("Cf", "Zl", "Zp", "Co", "Cn", "Cs"):
        return Code.INVISIBLE_CHARACTER
    if not comment and (category == "Zs" or character in _BLANKS or 0xFE00 <= ord(character) <= 0xFE0F):
        return Code.INVISIBLE_CHARACTER
    return None


def visible(text: str) -> str:
    """Return the text without invisible characters, so that a name is not reported twice."""
    if text.isascii():
        return _CONTROL.sub("", text)
    return "".join(c for c in text if _suspicious(c, comment=False) is None).strip(" ")


def records(lines: list[CsvLine], file: str, findings: DiagnosticSink) -> Iterator[CsvRecord]:
    """Yield the fields of each line. Comments and blank lines are skipped."""
    for line in lines:
        number, text = line
        stripped = text.strip(" ")
        if not stripped or stripped.startswith("#"):
            continue
        if (sign := false_sign(text)) is not None:  # further findings on this line would be consequences of this one
            findings.add(Code.LOOKALIKE_CHARACTER, file, (number, sign[0] + 1), *sign[1:])
            continue
        if '"' not in text and "#" not in text and "\t" not in text:
            fields = tuple([field.strip(" ") for field in stripped.split(",")])
            if not text.isascii() or not text.isprintable():
                fields = tuple(map(visible, fields))
            record: CsvRecord | None = CsvRecord(number, fields, text)
        else:
            record = _split(line, file, findings)
        if record is not None:
            yield record if all(record.fields) else _without_trailing_comma(record, file, findings)


def _split(line: CsvLine, file: str, findings: DiagnosticSink) -> CsvRecord | None:
    number, text = line
    if "\t" in text:
        message = "a tab: other programs would read it as part of a name"
        findings.add(Code.TAB, file, (number, text.index("\t") + 1), message, "write commas and spaces")
        text = text.replace("\t", " ")
        if "," not in text or text.strip(" ").startswith("#"):
            return None
    comment = comment_start(text)
    if comment is not None:
        message = 'a comment needs its own line: "#" here would become part of the field'
        findings.add(Code.INLINE_COMMENT, file, (number, comment + 1), message, "move it to the line above")
        text = text[:comment].rstrip(" ")
    fields = []
    for start, end in field_spans(text):
        field = text[start:end]
        if '"' in field:
            if not _QUOTED.fullmatch(field):
                message = "the quotes of this field do not balance"
                hint = 'a quoted field begins and ends with ", and a " inside is written ""'
                findings.add(Code.UNBALANCED_QUOTE, file, (number, start + 1), message, hint)
                return None
            field = field[1:-1].replace('""', '"')
        fields.append(visible(field))
    return CsvRecord(number, tuple(fields), text)


_QUOTED = re.compile(r'"(?:[^"]|"")*"')


def comment_start(text: str) -> int | None:
    """Return the index of a ``#`` that looks like a comment: outside quotes, at a field's start or after a space."""
    quoted = False
    for index, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == "#" and not quoted and (index == 0 or text[index - 1] in " ,"):
            return index
    return None


def field_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end of each field, without the spaces around it. A comma inside quotes is part of the field."""
    spans, start, quoted = [], 0, False
    for index, character in enumerate(text + ","):
        if character == '"':
            quoted = not quoted
        elif character == "," and (not quoted or index == len(text)):
            field = text[start:index]
            begin = start + len(field) - len(field.lstrip(" \t"))
            spans.append((begin, max(begin, start + len(field.rstrip(" \t")))))
            start = index + 1
    return spans


def _without_trailing_comma(record: CsvRecord, file: str, findings: DiagnosticSink) -> CsvRecord:
    """Report commas at a line's end, or otherwise the first empty field. Return the record without those commas."""
    fields = list(record.fields)
    if record.text.rstrip(" ").endswith(","):
        while fields and not fields[-1]:
            fields.pop()
        record = record._replace(fields=tuple(fields) or ("",))
        line, column = record.at(len(fields))
        comma = record.text.rindex(",", 0, column) + 1 if fields else 1
        findings.add(Code.TRAILING_COMMA, file, (line, comma), "the line ends in a comma", "delete it")
    if fields and "" in fields:
        at = record.at(fields.index(""))
        findings.add(Code.EMPTY_FIELD, file, at, "the field is empty", "write the intended value")
    return record


def without_invisible(text: str) -> str:
    """Return the line without invisible characters. Blank characters stay, to preserve columns."""
    if text.isascii() and not _CONTROL.search(text):
        return text
    return "".join(c for c in text if _suspicious(c, comment=True) is None)
