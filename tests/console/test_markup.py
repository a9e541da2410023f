"""Markup in every text that a person or a policy can write: shown as it is typed, on every page."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.console.pages import SIGNED_IN
from tests.console.site import Account, Sidecars, Site
from tests.console.visitor import Visitor, expect
from tests.live.support import ROOT

pytestmark = pytest.mark.slow

Visit = Callable[..., Visitor]
MARKUP = {
    "script": "<script>document.title='owned'</script>",
    "handler": "<img src=x onerror=\"document.title='owned'\">",
    "breakout": "\"'></td></title><svg onload=document.title='owned'>",
    "link": "<a href=\"javascript:document.title='owned'\">Bob</a>",
    "style": "<style>*{display:none}</style></style><iframe srcdoc=x>",
    "template": "{{constructor.constructor('owned')()}}${owned}&lt;b&gt;",
}
INERT = """() => {
  const strange = document.querySelectorAll("body script, img, iframe, object, embed, body style, body link, base, "
    + "[onerror], [onload], [srcdoc], a[href^='javascript:'], form[action^='javascript:'], meta[http-equiv]");
  return [document.title.includes("owned") && !/[<{"]/.test(document.title) ? "title" : "",
    ...[...strange].map((one) => one.outerHTML.slice(0, 100))].filter(Boolean);
}"""


def kind(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, MARKUP)


@pytest.fixture(scope="module")
def marked(sidecars: Sidecars, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Site]:
    """Return a sidecar with that kind of markup in the titles, descriptions and comments of its policy."""
    running: dict[str, Site] = {}

    def start(name: str) -> Site:
        if name not in running:
            folder = tmp_path_factory.mktemp(name) / "policy"
            shutil.copytree(ROOT / "policy", folder)
            write(folder, MARKUP[name])
            running[name] = sidecars.start(POLICY_DIR=str(folder), MODEL=str(ROOT / "model.conf"))
        return running[name]

    return start


def write(folder: Path, markup: str) -> None:
    """Put the markup into role and section titles, a description, and the text of a rule's comment."""
    quoted = markup.replace("\\", "\\\\").replace('"', '\\"')
    for name, title in (("roles.toml", "Marketer"), ("sections.toml", "Billing")):
        path = folder / name
        text = path.read_text()
        assert f'title = "{title}"' in text
        path.write_text(text.replace(f'title = "{title}"', f'title = "{title} {quoted}"'))
    roles = folder / "roles.toml"
    roles.write_text(roles.read_text().replace('"The media library."', f'"{quoted}"'))
    rules = folder / "policy.csv"
    rules.write_text(rules.read_text().rstrip("\n") + f"\n# {markup}\n")


@pytest.fixture(scope="module")
def team(marked: Callable[[str], Site]) -> Callable[[str], Account]:
    """Return the account of that kind of markup: its name, its members, and their changes in the audit."""
    made: dict[str, Account] = {}

    def find(name: str) -> Account:
        if name not in made:
            made[name] = fill(marked(name), MARKUP[name])
        return made[name]

    return find


def fill(site: Site, markup: str) -> Account:
    account = site.account(markup, seats=6, admin=f"Ada {markup}")
    bob = account.join(f"Bob {markup}", "marketer")
    carl = account.join("Carl Clerk", "accountant")
    account.ask("PATCH", f"/v1/users/{bob.id}", {"role": "developer"})
    account.ask("PATCH", f"/v1/users/{bob.id}", {"role": "marketer"})
    account.ask("PATCH", f"/v1/users/{carl.id}", {"status": "suspended"})
    account.invitation = account.invite(f"Dora {markup}", "marketer")[1]
    return account


@kind("name")
def test_markup_is_inert_on_every_page(visit: Visit, team: Callable[[str], Account], name: str) -> None:
    account, markup = team(name), MARKUP[name]
    visitor = visit(account.admin, origin=account.site.origin)
    for page in SIGNED_IN:
        visitor.open(f"/console/{page}")
        visitor.rests()
        expect(visitor.page.get_by_role("banner")).to_contain_text(markup)
        assert visitor.page.evaluate(INERT) == [], page
    visitor.open("/console/users")
    rows = visitor.page.get_by_role("table", name="Users").get_by_role("rowheader")
    expect(rows.filter(has_text=f"Bob {markup}")).to_have_count(1)
    visitor.open("/console/audit")
    expect(visitor.page.get_by_role("main")).to_contain_text(f"Bob {markup}")
    visitor.open("/console/policy")
    expect(visitor.page.get_by_role("table", name="Permissions")).to_contain_text(f"Billing {markup}")
    expect(visitor.page.get_by_role("table", name="Permissions")).to_contain_text(f"Marketer {markup}")


@kind("name")
def test_markup_is_inert_in_dialogs(visit: Visit, team: Callable[[str], Account], name: str) -> None:
    account, markup = team(name), MARKUP[name]
    visitor = visit(account.admin, origin=account.site.origin)
    bob = f"Bob {markup}"
    for item in ("Change role", "Suspend", "Remove"):
        visitor.open("/console/users")
        visitor.choose(bob, item)
        expect(visitor.page.get_by_role("dialog")).to_contain_text(markup)
        assert visitor.page.evaluate(INERT) == [], item
    visitor.open("/console/users")
    visitor.button("Invite user").click()
    expect(visitor.dialog("Invite user")).to_contain_text(f"Marketer {markup}")
    assert visitor.page.evaluate(INERT) == []
    guest = visit(origin=account.site.origin).open(account.invitation)
    guest.sees(f"Join {markup}")
    expect(guest.page.get_by_role("main")).to_contain_text(f"Ada {markup}")
    assert guest.page.evaluate(INERT) == []


@kind("name")
def test_markup_in_the_address_is_inert(visit: Visit, account: Account, name: str) -> None:
    from urllib.parse import quote

    text = quote(MARKUP[name], safe="")
    visitor = visit(account.admin)
    for page in SIGNED_IN:
        visitor.open(f"/console/{page}?actor={text}&action={text}&{text}#{text}")
        visitor.rests()
        assert visitor.page.evaluate(INERT) == [], page
    for page in ("invitation", "reset", "sign-in"):
        guest = visit().open(f"/console/{page}?rd={text}#{text}")
        guest.rests()
        assert guest.page.evaluate(INERT) == [], page


def test_the_check_finds_live_markup(visit: Visit, account: Account) -> None:
    visitor = visit().open("/console/sign-in")
    visitor.page.evaluate("document.body.append(document.createElement('iframe'))")
    assert visitor.page.evaluate(INERT) != []
