"""Tell systemd (``Type=notify``) what we are doing: one datagram, and nothing at all elsewhere (sd_notify(3))."""

import os
import socket


def notify(state: str) -> None:
    """``READY=1``, ``RELOADING=1``, ``STOPPING=1``. Says nothing when no NOTIFY_SOCKET is set; never fails."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), address)
    except OSError:
        return  # a supervisor that went away must not stop the service
