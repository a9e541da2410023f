"""Demo: a sidecar with temporary state, one account and four users, one per role (R23).

It listens on both loopback addresses only, with its own embedded store, issuer and random passwords. The store is
marked as a demo's, so that production never uses it.
"""

import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.config.parsers import TcpAddress
from sidecar.config.problems import DEMO_MARK
from sidecar.config.settings import ROWS, Settings, load
from sidecar.domain.users import ADMINISTRATOR, Actor
from sidecar.http.login_page import CONSOLE
from sidecar.identity.account_creation import NewAccount, create_account
from sidecar.identity.invitations import Invitee, Sent
from sidecar.identity.sessions import Client, Grant
from sidecar.policy.generation import Generation
from sidecar.server.bootstrap import Sidecar
from sidecar.server.listeners import LOCALHOST, bind_all
from sidecar.store.accounts import Created

ACCOUNT = "Demo"
FIRST_PORT = 9181
PORTS = 200
PEOPLE = {
    ADMINISTRATOR: ("admin@demo.example", "Ada Admin"),
    "accountant": ("accountant@demo.example", "Axel Accountant"),
    "developer": ("developer@demo.example", "Dora Developer"),
    "marketer": ("marketer@demo.example", "Mina Marketer"),
}
KEPT = ("policy_dir", "model", "log_level", "log_format", "decision_log")
"""Settings that a demo reads from flags, environment and file. All others are fixed."""


class DemoError(Exception):
    """The demo cannot start. One sentence."""


@dataclass(frozen=True, slots=True)
class DemoUser:
    role: str
    email: str
    password: str = field(repr=False)
    token: str = field(default="", repr=False)


def demo_settings(flags: Mapping[str, str | None], env: Mapping[str, str], state: Path) -> Settings:
    """Return the demo's settings. Raises SettingsError for an invalid setting, and DemoError."""
    loaded = load(flags, env)
    if loaded.redis_url is not None:
        raise DemoError(
            "the demo uses only its own store: unset SIDECAR_REDIS_URL, or use sidecar serve and account create"
        )
    own: dict[str, str | None] = {name: "" for name, row in ROWS.items() if row.default == ""}
    port = free_port(FIRST_PORT)
    url = f"http://localhost:{port}"
    sources = {value.name: value.source for value in loaded.values}
    own |= {name: value.text for value in loaded.values if (name := value.name) in KEPT}
    own |= {
        "listen": f"localhost:{port}",
        "ops_listen": f"127.0.0.1:{free_port(port + 1)}",
        "public_url": url,
        "issuer": f"{url}/demo",
        "audience": "demo",
        "state_dir": str(state),
        "keys_dir": str(state / "keys"),
        "plaintext": "false",
        "embedded": "false",
        "workers": "1",
        "access_ttl": "12h",  # the printed curl lines work all day
        "drain": "0s",
    }
    if sources["log_level"] == "default":
        own["log_level"] = "warning"
    if sources["decision_log"] == "default":
        own["decision_log"] = "off"
    return load(own, {})


def free_port(first: int) -> int:
    """Return the first port from ``first`` on that is free on all loopback addresses."""
    for port in range(first, min(first + PORTS, 65_536)):
        try:
            bound = bind_all(TcpAddress(LOCALHOST, port))
        except OSError:
            continue
        for probe in bound:
            probe.close()
        return port
    raise DemoError(f"no free port from {first} to {first + PORTS - 1} on {LOCALHOST}")


async def furnish(sidecar: Sidecar, keys_dir: Path) -> list[DemoUser]:
    """Create the account and its users, in the order of ``PEOPLE``. The tokens belong to new sessions."""
    await sidecar.proven()
    (keys_dir / DEMO_MARK).touch(mode=0o600)
    generation = sidecar.app.policy.generation
    if generation is None:
        raise DemoError("there is no policy in force")
    people = [DemoUser(role, email, _password()) for role, (email, _) in PEOPLE.items() if role in generation.roles]
    return [await _join(sidecar, generation, person) for person in people]


async def _join(sidecar: Sidecar, generation: Generation, person: DemoUser) -> DemoUser:
    """Create the account with its administrator; invite the other users and accept for them."""
    services = sidecar.app.people
    name = PEOPLE[person.role][1]
    if person.role == ADMINISTRATOR:
        new_account = NewAccount(ACCOUNT, person.email, person.password, name)
        made = await create_account(
            services.accounts, services.hashing, new_account, actor=Actor.operator(), entropy=os.urandom
        )
        if not isinstance(made, Created):
            raise DemoError(f"the demo's account could not be created: {made}")
        return person
    account = (await services.accounts.all())[0].id
    sent = await services.inviting.invite(
        Actor.operator(), generation, account, Invitee(person.email, name, person.role)
    )
    if not isinstance(sent, Sent) or sent.url is None:
        raise DemoError(f"{person.email} could not be invited: {sent}")
    secret = sent.url.partition("#")[2]
    grant = await services.inviting.accept(secret, person.password, None, Client("127.0.0.1", "sidecar demo"))
    if not isinstance(grant, Grant):
        raise DemoError(f"{person.email} could not join: {grant}")
    return DemoUser(person.role, person.email, person.password, grant.access_token)


def console_lines(url: str, people: list[DemoUser]) -> list[str]:
    """Return the lines that lead to the console: its address, then the user and the password to sign in with."""
    administrator = next(person for person in people if person.role == ADMINISTRATOR)
    return [
        f"Open in a browser:  {url}{CONSOLE}",
        f"E-mail:             {administrator.email}",
        f"Password:           {administrator.password}",
    ]


def curl_lines(url: str, people: list[DemoUser], folder: Path) -> list[tuple[str, str]]:
    """Return (description, command) pairs: an allowed, a denied and an unauthenticated request.

    The token is in a file in ``folder``: in the commands it would fill the terminal.
    """
    accountant = next(person for person in people if person.role == "accountant")
    header = folder / accountant.role
    with open(header, "x", opener=_private) as file:
        file.write(f"Authorization: Bearer {accountant.token}\n")
    bearer = f"-H @{shlex.quote(str(header))} "
    return [
        ("the Accountant opens billing: 200", _curl(url, "billing", bearer)),
        ("the Accountant opens the media library: 403", _curl(url, "media-library", bearer)),
        ("a request without a token opens billing: 401", _curl(url, "billing", "")),
    ]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _curl(url: str, section: str, bearer: str) -> str:
    return f"curl -so /dev/null -w '%{{http_code}}\\n' {bearer}{url}/check/sections/{section}"


def _password() -> str:
    """Return twenty letters and digits in four groups: 100 bits, easy to type."""
    characters = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(20))
    return "-".join(characters[at : at + 5] for at in range(0, 20, 5))
