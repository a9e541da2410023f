"""Mails over a real SMTP server: plain, STARTTLS, TLS; sender and recipient; rejections by the server."""

import ssl

import pytest

from sidecar.identity.mail import MailMessage, MailServer, SendError, Smtp, Tls, mail_server
from tests.identity.smtp_server import certificate, smtp_server

LINK = "https://sidecar.example/console/reset#rst_aaaaaaaaaaaa_bbbbbbbbbbbb_cccccccccccccccccccccccccccccccc"
LETTER = MailMessage("bob@example.com", "Choose a new password", f"Open this:\n\n{LINK}\n")
SENDER = "Dashboard <no-reply@acme.example>"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example", MailServer("mail.example", 25, Tls.NONE)),
        ("smtp://mail.example:2525/", MailServer("mail.example", 2525, Tls.NONE)),
        ("smtp://127.0.0.1:1025", MailServer("127.0.0.1", 1025, Tls.NONE)),
        ("smtp://u:p@localhost", MailServer("localhost", 25, Tls.NONE, "u", "p")),
        ("smtp://u:p@[::1]:25", MailServer("::1", 25, Tls.NONE, "u", "p")),
        ("smtps://u%40x:p%2Fq%3A@mail.example", MailServer("mail.example", 465, Tls.IMPLICIT, "u@x", "p/q:")),
        ("smtp+starttls://u:p@mail.example", MailServer("mail.example", 587, Tls.STARTTLS, "u", "p")),
    ],
)
def test_the_url_names_the_server(url, server):
    assert mail_server(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "smtp://u:geheim@mail.example",
        "smtps://mail.example/geheim",
        "smtps://mail.example?geheim",
        "smtps://u@mail.example",
        "smtps://:geheim@mail.example",
        "smtps://u:geheim@mail.example:99999",
    ],
)
def test_a_url_that_will_not_do_is_told_without_its_secret(url):
    with pytest.raises(ValueError, match=r"\w") as raised:
        mail_server(url)
    assert "geheim" not in str(raised.value)


def test_no_password_shows_in_a_repr():
    assert "geheim" not in repr(mail_server("smtps://u:geheim@mail.example"))
    assert LINK not in repr(LETTER)


@pytest.mark.parametrize("sender", ["", "nobody", "a@b\r\nBcc: c@d", "@example.com", "näme@example.com", "Name <>"])
def test_a_sender_that_is_no_address_is_refused(sender):
    with pytest.raises(ValueError, match="sender"):
        Smtp(mail_server("smtp://localhost"), sender=sender)


async def test_a_plain_mail_arrives_as_it_was_written():
    async with smtp_server() as smtpd:
        await Smtp(mail_server(f"smtp://127.0.0.1:{smtpd.port}"), sender=SENDER).send(LETTER)
    (mail,) = smtpd.mails
    assert smtpd.envelopes == [("no-reply@acme.example", ["bob@example.com"])]
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, "bob@example.com", "Choose a new password")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"]
    assert mail["Message-ID"].endswith("@acme.example>")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n") == LETTER.text
    assert LINK in mail.get_content(), "an unbroken link"


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_the_password_goes_over_tls_alone(tmp_path, scheme):
    server, client = certificate(tmp_path)
    tls = {"tls": server} if scheme == "smtps" else {"starttls": server}
    async with smtp_server(login=True, **tls) as smtpd:
        url = f"{scheme}://postmaster:p%40ss%2Fw%3Ard@127.0.0.1:{smtpd.port}"
        await Smtp(mail_server(url), sender=SENDER, trust=client).send(LETTER)
        assert smtpd.logins == [("postmaster", "p@ss/w:rd")]
        assert len(smtpd.mails) == 1
        wrong = Smtp(mail_server(url.replace("p%40ss", "guess")), sender=SENDER, trust=client)
        with pytest.raises(SendError) as refused:
            await wrong.send(LETTER)
    assert refused.value.permanent
    assert "guess" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, scheme):
    server, _ = certificate(tmp_path)
    tls = {"tls": server} if scheme == "smtps" else {"starttls": server}
    async with smtp_server(**tls) as smtpd:
        with pytest.raises(SendError):
            await Smtp(mail_server(f"{scheme}://127.0.0.1:{smtpd.port}"), sender=SENDER).send(LETTER)
    assert smtpd.mails == []


async def test_starttls_is_insisted_on():
    async with smtp_server() as smtpd:
        with pytest.raises(SendError):
            await Smtp(mail_server(f"smtp+starttls://127.0.0.1:{smtpd.port}"), sender=SENDER).send(LETTER)
    assert smtpd.mails == []


@pytest.mark.parametrize(("answer", "permanent"), [("451 later", False), ("452 full", False), ("554 spam", True)])
async def test_a_rejection_is_permanent_or_not_and_echoes_nothing(answer, permanent):
    async with smtp_server() as smtpd:
        smtpd.answers = [f"{answer} bob@example.com"]
        with pytest.raises(SendError) as refused:
            await Smtp(mail_server(f"smtp://127.0.0.1:{smtpd.port}"), sender=SENDER).send(LETTER)
    assert refused.value.permanent is permanent
    assert answer[:3] in str(refused.value)
    assert "bob" not in str(refused.value)


async def test_a_mailbox_that_is_not_there_is_for_good():
    async with smtp_server() as smtpd:
        smtp = Smtp(mail_server(f"smtp://127.0.0.1:{smtpd.port}"), sender=SENDER)
        with pytest.raises(SendError) as refused:
            await smtp.send(MailMessage("unknown@example.com", "s", "t"))
    assert refused.value.permanent
    assert "unknown" not in str(refused.value)


async def test_a_server_that_is_out_may_be_back():
    async with smtp_server() as smtpd:
        port = smtpd.port
    with pytest.raises(SendError) as refused:
        await Smtp(mail_server(f"smtp://127.0.0.1:{port}"), sender=SENDER).send(LETTER)
    assert not refused.value.permanent


async def test_a_non_ascii_address_needs_a_server_with_SMTPUTF8():
    mail = MailMessage("jürgen@example.com", "Einladung zu Müller & Söhne", "…")
    async with smtp_server() as smtpd:
        await Smtp(mail_server(f"smtp://127.0.0.1:{smtpd.port}"), sender=SENDER).send(mail)
    assert smtpd.envelopes[0][1] == ["jürgen@example.com"]
    assert smtpd.mails[0]["Subject"] == mail.subject
    async with smtp_server(utf8=False) as smtpd:
        with pytest.raises(SendError) as refused:
            await Smtp(mail_server(f"smtp://127.0.0.1:{smtpd.port}"), sender=SENDER).send(mail)
    assert refused.value.permanent


@pytest.mark.parametrize(
    "mail",
    [
        MailMessage("bob@example.com\r\nBcc: eve@example.com", "s", "t"),
        MailMessage("bob@example.com", "s\r\nBcc: eve@example.com", "t"),
        MailMessage("bob@example.com, eve@example.com", "s", "t"),
    ],
)
async def test_no_text_becomes_a_header(mail):
    async with smtp_server() as smtpd:
        with pytest.raises(SendError) as refused:
            await Smtp(mail_server(f"smtp://127.0.0.1:{smtpd.port}"), sender=SENDER).send(mail)
    assert refused.value.permanent
    assert smtpd.mails == []


def test_a_context_verifies_names():
    assert ssl.create_default_context().check_hostname
