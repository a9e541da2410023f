"""Tell systemd (``Type=notify``) what we are doing: datagrams, and nothing at all elsewhere (sd_notify(3))."""

import asyncio
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


async def beat() -> None:
    """``WATCHDOG=1`` as long as the loop turns, twice in the time after which systemd takes us for hung
    (sd_watchdog_enabled(3)). Ends at once where nobody waits for it."""
    microseconds, whose = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or whose not in ("", str(os.getpid())):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 2_000_000)
