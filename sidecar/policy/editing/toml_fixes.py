"""Fixes in the TOML files: keys, values, routes and conditions."""

import re
from collections.abc import Iterator
from typing import Final

from sidecar.domain.users import ADMINISTRATOR
from sidecar.policy.declarations import default_title
from sidecar.policy.diagnostics import DiagnosticCode as Code
from sidecar.policy.editing.buffers import Buffer, BufferEdit
from sidecar.policy.editing.findings import Finding, Fix, Fixer, delete_line, fix
from sidecar.policy.editing.symbols import scan
from sidecar.policy.own_segments import OWN
from sidecar.policy.text.toml_scanner import TomlToken

_DEFAULTS: Final = {
    "actions": '["view"]',
    "methods": '["GET"]',
    "action": '"view"',
    "zone": '"UTC"',
    "days": '"mon-fri"',
    "from": '"08:00"',
    "to": '"18:00"',
    "wait": '"24h"',
}
"""Values that a missing key starts with, as in the shipped files."""


# -- keys --------------------------------------------------------------------------------------------------------------


def _add_key(finding: Finding) -> Iterator[Fix]:
    """Write a missing key with a first value, or a first item into an empty list."""
    example = re.search(r"like (\[.+\])$", finding.hint)
    if example is not None:
        at = finding.find("[]")
        if at is not None:
            yield from fix(f"Write {example[1]}", finding.buffer.replace(at, at + 2, example[1]))
        return
    key = re.fullmatch(r"add (\w+) = …", finding.hint)
    if key is None:
        return
    buffer, at = finding.buffer, finding.offset
    value = _DEFAULTS.get(key[1]) or f'"{_title_for(finding.message)}"'
    text = f"{key[1]} = {value}"
    if key[1] == "path":
        return  # every path would be a guess
    if buffer.text.startswith("[", at):
        yield from fix(f"Add {text}", buffer.insert_lines(finding.line, [text]))
        return
    brace = finding.find("{", within=200)
    if brace is not None:
        empty = re.match(r"\{\s*\}", buffer.text[brace:]) is not None
        yield from fix(f"Add {text}", buffer.replace(brace + 1, brace + 1, f" {text}{' ' if empty else ','}"))


def _title_for(message: str) -> str:
    """Return a title from the table of a message: ``roles.developer has no "title"``."""
    return default_title(message.partition(" has no ")[0].rpartition(".")[2].replace('"', ""))


def rename_table(finding: Finding, new: str) -> Iterator[BufferEdit]:
    """Yield the edits that rename a top-level table in all its headers."""
    scanner = scan(finding.buffer)
    for key in scanner.keys if scanner else ():
        if key.path == (finding.name,):
            yield finding.buffer.replace(key.start, key.end, new)


def _delete_key(finding: Finding) -> Iterator[Fix]:
    """Delete the second definition of a key or a table."""
    line = finding.buffer.line(finding.line)
    if line.lstrip().startswith("["):
        yield from delete_table(finding.buffer, finding.line)
    elif re.fullmatch(r"\s*[^=]+=[^\[{]*|\s*[^=]+=\s*\[[^\]]*\]\s*|\s*[^=]+=\s*\{[^}]*\}\s*", line):
        yield from delete_line(finding)


def delete_table(buffer: Buffer, line: int) -> Iterator[Fix]:
    """Yield the deletion of a table: from its header to before the next one, or its comment."""
    last = next((n for n in range(line + 1, len(buffer.starts) + 1) if buffer.line(n).startswith("[")), None)
    end = len(buffer.starts) + 1 if last is None else last
    while end - 1 > line and buffer.line(end - 1).startswith("#"):
        end -= 1
    title = f"Delete {buffer.line(line).partition('#')[0].strip()}"
    yield from fix(title, buffer.replace(buffer.line_start(line), buffer.line_start(end), ""))


def _change_type(finding: Finding) -> Iterator[Fix]:
    """Write a value in the type that its key takes."""
    buffer, at = finding.buffer, finding.offset
    line_end = buffer.line_end(buffer.line_of(at))
    match = re.compile(r"(?:\"[^\"\n]*\"|[\w.-]+)\s*=\s*([^,#}\n]+?)\s*(?=[,#}\r\n]|$)").match(
        buffer.text, at, line_end
    )
    header = re.match(r"\[([^\[\]]+)\]", buffer.text[at:line_end])
    if finding.hint.startswith("write [[") and header is not None:
        new = f"[{header[0]}]"
        yield from fix(f"Write {new}", buffer.replace(at, at + header.end(), new), certain=True)
    if match is None:
        return
    value, start, end = match[1], *match.span(1)
    inner = value.strip("\"'")
    if finding.hint == "write it without quotes" and inner in ("true", "false"):
        yield from fix(f"Write {inner}", buffer.replace(start, end, inner), certain=True)
    elif finding.hint.endswith('= "…"') and not value.startswith(("[", "{", '"')):
        yield from fix(f'Write "{value}"', buffer.replace(start, end, f'"{value}"'), certain=True)
    elif finding.hint.endswith('= ["…", "…"]') and not value.startswith(("[", "{")):
        items = ", ".join(f'"{item.strip()}"' for item in inner.split(","))
        yield from fix(f"Write [{items}]", buffer.replace(start, end, f"[{items}]"), certain=True)


# -- lists -------------------------------------------------------------------------------------------------------------


def _strings_behind(finding: Finding) -> list[TomlToken]:
    """Return the strings of the first list at or behind the position."""
    scanner = scan(finding.buffer)
    behind = [token for token in scanner.strings if token.end > finding.offset] if scanner else []
    return [token for token in behind if token.path[:-1] == behind[0].path[:-1]]


def _text(buffer: Buffer, token: TomlToken) -> str:
    return buffer.text[token.start + 1 : token.end - 1]


def _without_item(buffer: Buffer, tokens: list[TomlToken], index: int) -> BufferEdit:
    """Return the edit that deletes an item with the comma before it, or behind the first one."""
    if index:
        return buffer.replace(tokens[index - 1].end, tokens[index].end, "")
    end = tokens[1].start if len(tokens) > 1 else tokens[0].end
    return buffer.replace(tokens[0].start, end, "")


def _list_once(finding: Finding) -> Iterator[Fix]:
    """Delete the second of two equal items."""
    tokens = _strings_behind(finding)
    seen: set[str] = set()
    for index, token in enumerate(tokens):
        text = _text(finding.buffer, token)
        if text in seen:
            title = f'Delete the second "{text}"'
            yield from fix(title, _without_item(finding.buffer, tokens, index), certain=True)
            return
        seen.add(text)


def _methods(finding: Finding) -> Iterator[Fix]:
    if finding.hint == "list it once":
        yield from _list_once(finding)
    tokens = _strings_behind(finding) if finding.hint == "add GET" else []
    if tokens:
        at = tokens[0].start
        yield from fix("Add GET", finding.buffer.replace(at, at, '"GET", '), certain=True)


# -- paths -------------------------------------------------------------------------------------------------------------


def _path(finding: Finding) -> Iterator[Fix]:
    """Correct a path pattern, or the path of a route test."""
    for corrected in corrected_paths(finding.name, finding.hint, finding.message):
        if corrected != finding.name:
            yield from fix(f"Write {corrected}", *finding.replace_name(corrected))


def corrected_paths(path: str, hint: str, message: str) -> list[str]:
    """Return the paths that a hint names, the most likely first; none if it leaves a choice of words."""
    segments, named = path.split("/"), re.search(r'": "(.+)" (?:would be|has more|stands)', message)
    if named is None or ("own" not in hint + message and hint != "write it once"):
        corrected = corrected_path(path, hint, message)
        return [] if corrected is None else [corrected]
    if hint == "write it once":
        last = len(segments) - 1 - segments[::-1].index(named[1])
        return ["/".join("*" if at == last else one for at, one in enumerate(segments))]
    if hint == "write nothing else between its slashes":
        choices = [own for own in OWN if own in named[1]][:1]
    else:
        choices = [one for one in (*OWN, "*") if one in hint]
    return ["/".join(choice if one == named[1] else one for one in segments) for choice in choices]


def corrected_path(path: str, hint: str, message: str) -> str | None:
    """Return the path as a hint asks for it, or None if the hint leaves a choice."""
    segments = path.split("/")
    match hint:
        case "a path begins with / and has no ?":
            bare = path.partition("?")[0]
            return bare if bare.startswith("/") else f"/{bare}"
        case "delete it":
            return path.rstrip("/") or "/"
        case "write one slash":
            return re.sub("//+", "/", path)
        case "like /dashboard/billing":
            return f"/{path}" if path else None
        case "write nothing else in that segment":
            return "/".join("*" if "*" in one and one != "**" else one for one in segments)
        case "write the path without it":
            return "/".join(one for one in segments if one not in (".", ".."))
        case "write * for one segment":
            return "/".join(
                "*" if one == "**" and index < len(segments) - 1 else one for index, one in enumerate(segments)
            )
        case "write * for one segment of any name":
            named = re.search(r'": "(.+)" would be', message)
            return "/".join("*" if named and one == named[1] else one for one in segments)
        case _:
            return None


# -- roles and conditions ----------------------------------------------------------------------------------------------


def make_assignable(finding: Finding, role: str) -> Iterator[Fix]:
    """Yield the deletion of ``assignable = false`` of a role."""
    buffer = finding.other("roles.toml")
    pattern = rf'^[ \t]*\[roles\."?{re.escape(role)}"?\][^\n]*\n(?:(?!\[)[^\n]*\n)*?([ \t]*assignable[ \t]*=[^\n]*\n)'
    match = re.search(pattern, buffer.text, re.MULTILINE)
    if match is not None:
        yield from fix(f'Make "{role}" assignable', buffer.replace(*match.span(1), ""))


def _condition_kind(finding: Finding) -> Iterator[Fix]:
    if "kinds: " in finding.message:
        yield from delete_line(finding)


def _condition_value(finding: Finding) -> Iterator[Fix]:
    hint, buffer = finding.hint, finding.buffer
    exact = re.fullmatch(r'write "([^"]+)"(?: for one address)?', hint)
    if exact is not None:
        yield from fix(f'Write "{exact[1]}"', *finding.replace_name(exact[1]), certain=True)
    elif hint == "delete one of them":
        yield from _list_item_again(finding)
    elif hint == "write second_factor = true":
        at = finding.find("false")
        if at is not None:
            yield from fix("Write second_factor = true", buffer.replace(at, at + 5, "true"), certain=True)
    elif hint.startswith('write from = "00:00" and to = "24:00"'):
        line = buffer.line(finding.line)
        whole = re.sub(r'\b(from\s*=\s*)"[^"]*"', r'\1"00:00"', re.sub(r'\b(to\s*=\s*)"[^"]*"', r'\1"24:00"', line))
        start = buffer.line_start(finding.line)
        if whole != line:
            yield from fix("Write whole days", buffer.replace(start, start + len(line), whole))


def _list_item_again(finding: Finding) -> Iterator[Fix]:
    """Delete the item at the position, which is in its list already."""
    scanner = scan(finding.buffer)
    item = next((one for one in scanner.strings if one.start == finding.offset), None) if scanner else None
    if scanner is not None and item is not None:
        tokens = [one for one in scanner.strings if one.path[:-1] == item.path[:-1]]
        edit = _without_item(finding.buffer, tokens, tokens.index(item))
        yield from fix(f'Delete the second "{_text(finding.buffer, item)}"', edit, certain=True)


def _unused_condition(finding: Finding) -> Iterator[Fix]:
    if finding.buffer.line(finding.line).lstrip().startswith("["):
        yield from delete_table(finding.buffer, finding.line)


def _administrator(finding: Finding) -> Iterator[Fix]:
    """Declare the administrator's role again."""
    table = [f"[roles.{ADMINISTRATOR}]", f'title = "{default_title(ADMINISTRATOR)}"']
    text = finding.buffer.text.rstrip()
    title = f"Add [roles.{ADMINISTRATOR}]"
    yield from fix(title, finding.buffer.append_lines(["", *table] if text else table))


def declare(finding: Finding, section: str, action: str | None) -> Iterator[Fix]:
    """Yield the declaration of a section, or of an action of a declared section."""
    buffer = finding.other("sections.toml")
    header = rf'^[ \t]*\[sections\."?{re.escape(section)}"?\][^\n]*\n'
    pattern = header + r"(?:(?!\[)[^\n]*\n)*?[ \t]*actions[ \t]*=[ \t]*\[([^\]]*)\]"
    match = re.search(pattern, buffer.text, re.MULTILINE)
    if match is not None and action is not None:
        comma = ", " if match[1].strip() else ""
        at = match.start(1) + len(match[1].rstrip(" ,\r\n"))
        yield from fix(f"Declare {section}/{action}", buffer.replace(at, at, f'{comma}"{action}"'))
    elif match is None:
        table = [f"[sections.{section}]", f'title = "{default_title(section)}"', f'actions = ["{action or "view"}"]']
        yield from fix(f"Declare {section}", buffer.append_lines(["", *table]))


FIXERS: Final[dict[Code, Fixer]] = {
    Code.MISSING_KEY: _add_key,
    Code.DUPLICATE_KEY: _delete_key,
    Code.WRONG_TYPE: _change_type,
    Code.DUPLICATE_ACTION: _list_once,
    Code.INVALID_METHOD: _methods,
    Code.INVALID_PATH: _path,
    Code.CONDITION_KIND: _condition_kind,
    Code.CONDITION_VALUE: _condition_value,
    Code.UNUSED_CONDITION: _unused_condition,
    Code.ADMINISTRATOR_MISSING: _administrator,
}
