"""A sequence of requests at debug level leaves no password, no token and no store URL in any log or response."""

import time
from collections.abc import Callable
from urllib.parse import quote

from tests.live.conftest import Start, http, start
from tests.live.support import PASSWORD, Http, Process, cli, found_account

__all__ = ["http", "start"]

WRONG = "seven purple hats in a row"
NEXT = "eleven grey stones by the river"
IN_THE_URL = "pw-of-the-store-hunter2"


async def test_R24_no_secret_in_any_log(start: Start, real_redis_url: str, http: Callable[[Process], Http]) -> None:
    process = start(REDIS_URL=with_password(real_redis_url), LOG_LEVEL="debug")
    found_account(process)
    api = http(process)
    secrets = [PASSWORD, WRONG, NEXT, IN_THE_URL]

    admin = await api.sign_in("ada@example.com")
    invited = await api.invite(admin, "bob@example.com", "accountant")
    secret = invited.body["invitation"]["url"].partition("#")[2]
    opened = await api.ask("POST", "/v1/invitations/show", json={"token": secret})
    joined = await api.ask("POST", "/v1/invitations/accept", json={"token": secret, "password": PASSWORD})
    closed = await api.ask("POST", "/v1/invitations/show", json={"token": secret})
    used = await api.ask("POST", "/v1/invitations/accept", json={"token": secret, "password": NEXT})
    wrong = await api.ask(
        "POST", "/token", data={"grant_type": "password", "username": "bob@example.com", "password": WRONG}
    )
    forged = admin.access[:-4] + "AAAA"
    assert (opened.status, closed.status) == (200, 410)
    answers = [opened, closed, used, wrong, await api.check("/dashboard/billing", token=forged)]
    answers += [await api.check("/dashboard/billing?token=" + admin.access, token=admin.access)]
    answers += [await api.ask("GET", "/v1/me", headers={"Cookie": f"sidecar={forged}; other={WRONG}"})]
    answers += [await api.ask("POST", "/v1/me/password", token=admin.access, json=["not", NEXT])]
    refreshed = await api.ask("POST", "/token", data={"grant_type": "refresh_token", "refresh_token": admin.refresh})
    change = {"old_password": PASSWORD, "new_password": NEXT}
    changed = await api.ask("POST", "/v1/me/password", token=refreshed.body["access_token"], json=change)
    assert (joined.status, used.status, wrong.status, changed.status) == (201, 410, 400, 200), changed
    for body in (joined.body, refreshed.body, changed.body):
        secrets += [body["access_token"], body["refresh_token"]]
    secrets += [admin.access, admin.refresh, forged, secret]

    shown = "".join(str(answer) for answer in answers)
    shown += "".join(
        str(cli(process.settings, *words)) for words in (["config"], ["account", "list"], ["user", "list"])
    )
    process.popen.send_signal(1)  # SIGHUP: the log of a reload
    time.sleep(0.2)
    process.stop()
    logs = process.output() + "".join(path.read_text() for path in process.log.parent.glob("*.log"))
    assert '"reason"' in logs, "the decisions were logged"
    assert {
        name: text for text in secrets for name in ("shown", "logs") if text in {"shown": shown, "logs": logs}[name]
    } == {}


def with_password(url: str) -> str:
    """The same store, with a password that its default user does not need."""
    return url if "@" in url else url.replace("unix://", f"unix://default:{quote(IN_THE_URL)}@", 1)
