"""Status notifications to systemd (``Type=notify``), as datagrams (sd_notify(3)). Without systemd nothing is sent."""

import asyncio
import os
import socket


def notify(state: str) -> None:
    """Send ``READY=1``, ``RELOADING=1`` or ``STOPPING=1``. No-op without NOTIFY_SOCKET. Never raises."""
    where = os.environ.get("NOTIFY_SOCKET", "")
    if not where:
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode(), address)
    except OSError:
        return  # a missing supervisor must not stop the service


async def beat() -> None:
    """Send ``WATCHDOG=1`` while the event loop runs, twice per watchdog timeout (sd_watchdog_enabled(3)).

    Return at once when no watchdog is set for this process.
    """
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(int(microseconds) / 2_000_000)
