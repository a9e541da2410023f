"""Mails from a real sidecar to a real mail server: invitations, password resets, and starts with invalid
mail settings.
"""

from collections.abc import Callable

import pytest

from tests.identity.smtp_server import SmtpServer, smtp_server
from tests.live.conftest import Start
from tests.live.support import PASSWORD, Http, Process, cli, eventually, found_account

pytestmark = pytest.mark.slow

NEW = "six green bottles on a shelf"
SENDER = "Dashboard <no-reply@acme.example>"


async def arrived(smtpd: SmtpServer, number: int) -> str:
    """Return the link in the mail of that number."""
    await eventually(lambda: len(smtpd.mails) >= number)
    text = smtpd.mails[number - 1].get_content()
    return next(line for line in text.splitlines() if line.startswith("https://"))


def links(smtpd: SmtpServer) -> list[str]:
    """Return the mails with a link to a new password."""
    return [text for mail in smtpd.mails if "/console/reset#" in (text := mail.get_content())]


async def test_a_mailed_invitation_verifies_the_email_a_shown_one_not(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    async with smtp_server() as smtpd:
        process = start(
            REDIS_URL=real_redis_url,
            SMTP_URL=f"smtp://127.0.0.1:{smtpd.port}",
            MAIL_FROM=SENDER,
            PUBLIC_URL="https://login.acme.example",
        )
        found_account(process)
        api = http(process)
        ada = await api.sign_in("ada@example.com")
        for number, (email, by_mail) in enumerate((("bob@example.com", True), ("eve@example.com", False)), start=1):
            invited = await api.invite(ada, email, "accountant")
            shown = invited.body["invitation"]["url"]
            mailed = await arrived(smtpd, number)
            assert smtpd.envelopes[-1] == ("no-reply@acme.example", [email])
            assert smtpd.mails[-1]["From"] == SENDER
            assert mailed.startswith("https://login.acme.example/console/invitation#inv_")
            assert mailed != shown
            token = (mailed if by_mail else shown).partition("#")[2]
            joined = await api.ask("POST", "/v1/invitations/accept", json={"token": token, "password": PASSWORD})
            assert joined.status == 201
            passed = await api.check("/dashboard/billing/", token=joined.body["access_token"])
            assert passed.headers["X-Auth-Email"] == (email if by_mail else "")


async def test_R12_a_reset_link_comes_by_mail_the_response_is_constant(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    async with smtp_server() as smtpd:
        process = start(
            REDIS_URL=real_redis_url,
            SMTP_URL=f"smtp://127.0.0.1:{smtpd.port}",
            MAIL_FROM=SENDER,
            PUBLIC_URL="https://login.acme.example",
        )
        found_account(process)
        api = http(process)
        old = await api.sign_in("ada@example.com")
        answers = [
            await api.ask("POST", "/v1/password/forgot", json={"email": email})
            for email in ("nobody@example.com", "Ada@Example.com")
        ]
        assert [answer.status for answer in answers] == [202, 202]
        assert answers[0].body == answers[1].body
        token = (await arrived(smtpd, 1)).partition("#")[2]
        done = await api.ask("POST", "/v1/password/reset", json={"token": token, "password": NEW})
        assert done.status == 201
        assert (await api.check("/dashboard/billing/", token=old.access)).body["reason"] == "revoked"
        assert (await api.check("/dashboard/billing/", token=done.body["access_token"])).status == 200
        again = await api.ask("POST", "/v1/password/reset", json={"token": token, "password": PASSWORD})
        assert (again.status, again.body["code"]) == (410, "invitation_gone")
        assert (await api.sign_in("ada@example.com", NEW)).id == old.id

        for _ in range(8):
            assert (await api.ask("POST", "/v1/password/forgot", json={"email": "ada@example.com"})).status == 202
        await eventually(lambda: len(links(smtpd)) >= 5)
        process.stop()
        assert len(links(smtpd)) == 5, "a burst per recipient, then a slow refill"
        assert len(smtpd.mails) == 5 + 1, "and one about the changed password"
        assert "rst_" not in process.output()


async def test_R16_mails_of_strangers_stop_no_mail_or_reset_of_users(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    async with smtp_server() as smtpd:
        process = start(
            REDIS_URL=real_redis_url,
            SMTP_URL=f"smtp://127.0.0.1:{smtpd.port}",
            MAIL_FROM=SENDER,
            PUBLIC_URL="https://login.acme.example",
            TRUSTED_PROXIES="127.0.0.0/8",
        )
        found_account(process)
        api = http(process)
        ada = await api.sign_in("ada@example.com")
        await api.join(ada, "bob@example.com", "marketer")
        await eventually(lambda: len(smtpd.mails) >= 1)
        smtpd.mails.clear()
        smtpd.envelopes.clear()

        async def forgot(email: str, address: str) -> None:
            body = {"email": email}
            answer = await api.ask("POST", "/v1/password/forgot", json=body, headers={"X-Forwarded-For": address})
            assert answer.status == 202

        for number in range(40):  # one known e-mail, from several addresses; and unknown ones, from one
            await forgot("bob@example.com", f"203.0.113.{number % 4}")
            await forgot(f"nobody{number}@example.com", "203.0.113.99")
        invited = await api.invite(ada, "eve@example.com", "accountant")
        assert invited.body["invitation"]["mailed"] is True
        await forgot("ada@example.com", "198.51.100.9")
        await eventually(lambda: {to for _, (to,) in smtpd.envelopes} >= {"eve@example.com", "ada@example.com"})
        assert len([to for _, (to,) in smtpd.envelopes if to == "bob@example.com"]) == 5
        for _ in range(4):
            invited = await api.ask("POST", f"/v1/users/{invited.body['user']['id']}/invitation", token=ada.access)
        assert invited.body["invitation"]["mailed"] is True
        invited = await api.ask("POST", f"/v1/users/{invited.body['user']['id']}/invitation", token=ada.access)
        assert invited.body["invitation"]["mailed"] is False
        metrics = (await api.ask("GET", "/metrics", url=process.ops)).body.decode()
        for outcome, source in (
            ("sent", "stranger"),
            ("sent", "user"),
            ("address_limit", "stranger"),
            ("recipient_limit", "stranger"),
            ("recipient_limit", "user"),
        ):
            assert f'sidecar_mails_total{{outcome="{outcome}",source="{source}"}}' in metrics
        process.stop()
        lines = [line for line in process.output().splitlines() if "mail not queued" in line]
        assert len(lines) == 3, "one per minute and kind"


async def test_a_mail_server_that_is_out_holds_nobody_up(
    start: Start, real_redis_url: str, http: Callable[[Process], Http]
) -> None:
    process = start(REDIS_URL=real_redis_url, SMTP_URL="smtp://127.0.0.1:9", MAIL_FROM=SENDER)
    found_account(process)
    api = http(process)
    ada = await api.sign_in("ada@example.com")
    invited = await api.invite(ada, "bob@example.com", "accountant")
    assert invited.body["invitation"]["url"]
    assert (await api.ask("POST", "/v1/password/forgot", json={"email": "ada@example.com"})).status == 202
    await eventually(lambda: "mail delivery failed" in process.output())
    assert process.stop() == 0


@pytest.mark.parametrize(
    ("url", "sender", "part"),
    [
        ("smtp://u:geheim@mail.example", SENDER, "SIDECAR_SMTP_URL: a password over plain smtp"),
        ("smtps://u@mail.example", SENDER, "SIDECAR_SMTP_URL: user and password belong together"),
        ("smtps://mail.example", "nobody", "SIDECAR_MAIL_FROM: the sender is not an ASCII address"),
        ("smtps://u:geheim@mail.example", "", "SIDECAR_SMTP_URL needs SIDECAR_MAIL_FROM"),
    ],
)
def test_a_start_that_cannot_mail_says_so_without_the_password(
    real_redis_url: str, tmp_path: object, url: str, sender: str, part: str
) -> None:
    settings = {
        "LISTEN": "127.0.0.1:0",
        "OPS_LISTEN": "127.0.0.1:0",
        "STATE_DIR": str(tmp_path),
        "REDIS_URL": real_redis_url,
        "SMTP_URL": url,
        "MAIL_FROM": sender,
    }
    done = cli(settings, "serve")
    assert done.returncode == 2
    assert part in done.stderr
    assert "geheim" not in done.stderr + done.stdout
