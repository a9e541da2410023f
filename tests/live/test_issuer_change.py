"""A public URL that changes after the first start: rejected at once, with `sidecar issuer change` as the
remedy (R22).
"""

from tests.live.support import cli, found_account

OLD, NEW = "http://old.example", "http://new.example"


async def test_R22_another_issuer_stops_the_start_until_the_change(start, http):
    first = start(ISSUER=OLD)
    found_account(first)
    person = await http(first).sign_in("ada@example.com")
    running = cli(first.settings, "issuer", "change", NEW)
    assert (running.returncode, running.stdout) == (1, "")
    assert "stop them first" in running.stderr
    assert (await http(first).check("/dashboard/billing/", token=person.access)).status == 200
    assert first.stop() == 0

    refused = start(ISSUER=NEW, wait=False)
    assert refused.popen.wait(20) == 2
    assert f"sidecar issuer change {NEW}" in refused.output()
    assert '"serving"' not in refused.output(), "no log line of a start"

    changed = cli(first.settings, "issuer", "change", NEW)
    assert changed.returncode == 0, changed.stderr
    assert start(ISSUER=OLD, wait=False).popen.wait(20) == 2
    second = start(ISSUER=NEW)
    client = http(second)
    assert (await client.check("/dashboard/billing/", token=person.access)).status == 401
    form = {"grant_type": "refresh_token", "refresh_token": person.refresh}
    assert (await client.ask("POST", "/token", data=form)).body["error"] == "invalid_grant"
    again = await client.sign_in("ada@example.com")
    assert (await client.check("/dashboard/billing/", token=again.access)).status == 200
