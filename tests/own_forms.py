"""Forms of a path segment that a program could take for an id of another. None of them is the caller's own."""

import re

ENCODED = "%{:02x}"


def foreign_forms(own: str, other: str) -> dict[str, str]:
    """Return 60 segments or more, percent-encoded, by name. ``own`` and ``other``: ids of the caller and of another."""
    kind, _, letters = other.partition("_")
    escaped = "".join(ENCODED.format(ord(character)) for character in other)
    forms = {
        "plain": other,
        # case
        "upper case": other.upper(),
        "title case": other.title(),
        "one letter in upper case": other[:-1] + other[-1].upper(),
        "upper case of one's own": own.upper(),
        "upper kind of one's own": own.replace("_", "_", 1).capitalize(),
        # escapes
        "first letter escaped": ENCODED.format(ord(other[0])) + other[1:],
        "underscore escaped": other.replace("_", "%5F"),
        "all escaped": escaped,
        "all escaped in upper case": escaped.upper(),
        "escaped twice": escaped.replace("%", "%25"),
        "escaped three times": escaped.replace("%", "%2525"),
        "escaped in UTF-16": "%u0061" + other[1:],
        "half an escape": other + "%",
        "an escape of no hexadecimal digits": other + "%zz",
        "a space behind": other + "%20",
        "a space before": "%20" + other,
        "a plus behind": other + "+",
        "a tab behind": other + "%09",
        "a line feed behind": other + "%0a",
        "a carriage return behind": other + "%0d%0a",
        "a NUL behind": other + "%00",
        "a NUL, then one's own": f"{other}%00{own}",
        "one's own, then a NUL": f"{own}%00{other}",
        "an escaped slash behind": other + "%2f",
        "an escaped slash before": "%2f" + other,
        "one's own and an escaped slash": f"{own}%2f..%2f{other}",
        "an escaped backslash": f"{own}%5c..%5c{other}",
        "an escaped dot": other + "%2e",
        "an escaped parameter": f"{other}%3b{own}",
        "an escaped question mark": f"{other}%3f{own}",
        "an escaped number sign": f"{other}%23{own}",
        # Unicode
        "a fullwidth letter": "%ef%bd%81" + other[1:],
        "a fullwidth low line": other.replace("_", "%ef%bc%bf"),
        "a Cyrillic letter": "%d0%b0" + other[1:],
        "a combining accent": other + "%cc%81",
        "a soft hyphen": f"{kind}%c2%ad_{letters}",
        "a zero-width joiner": other + "%e2%80%8d",
        "a no-break space": other + "%c2%a0",
        "a byte order mark": "%ef%bb%bf" + other,
        "a direction mark": "%e2%80%ae" + other,
        "one's own with a zero-width space": own + "%e2%80%8b",
        "an overlong letter": "%c1%a1" + other[1:],
        "a byte that is no UTF-8": other + "%ff",
        "half a surrogate": other + "%ed%a0%80",
        # prefixes and parts
        "one's own and another letter": own + "a",
        "one's own without its last letter": own[:-1],
        "one's own and another's": own + other,
        "another's and one's own": other + own,
        "another's without its kind": letters,
        "one's own without its kind": own.partition("_")[2],
        "the kind alone": kind + "_",
        "two underscores": other.replace("_", "__"),
        "a dot behind": other + ".",
        "one's own and an extension": own + ".json",
        # several
        "a list": f"{other},{own}",
        "a list, one's own first": f"{own},{other}",
        "a parameter": f"{other};id={own}",
        "a parameter of one's own": f"{own};id={other}",
        "one's own and a matrix parameter": f"{own};{other}",
        "an at sign": f"{own}@{other}",
        "an ampersand": f"{other}&{own}",
        "twice, as segments": f"{other}/{other}",
        "before one's own": f"{other}/{own}",
        # names in place of ids
        "the braces": "{account}",
        "the braces, escaped": "%7Baccount%7D",
        "the user's braces": "{user}",
        "a star": "*",
        "two stars": "**",
        "oneself": "self",
        "me": "me",
        "null": "null",
        "zero": "0",
        "a negative number": "-1",
        "an empty segment": "",
        "an empty segment and another's": "/" + other,
        "a dot segment and another's": "./" + other,
        "out of one's own": f"{own}/../{other}",
        "out of one's own, escaped": f"{own}/%2e%2e/{other}",
        "out of one's own, half escaped": f"{own}/.%2e/{other}",
        "out of one's own with a parameter": f"{own}/..;/{other}",
    }
    assert len(forms) >= 60
    assert own not in forms.values()
    assert not [form for form in forms.values() if re.search(r"[\x00-\x20#?]", form)], "sent as they are"
    return forms
