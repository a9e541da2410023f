"""Host names and addresses as text. Names are not resolved."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Return True for ``localhost`` and the loopback addresses of IPv4 and IPv6."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_loopback_name(host: str) -> bool:
    """Return True for `is_loopback` and for the names below ``.localhost``, which browsers resolve to loopback."""
    return is_loopback(host) or host.endswith(".localhost")
