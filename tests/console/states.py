"""Every page and every dialog of the console, each with the steps that lead there."""

from collections.abc import Callable

from tests.console.applying import Candidate, change, progress
from tests.console.edits import MISSPELT, POLICY, choose_files, renamed_and_opened, report
from tests.console.phone import Phone, add_phone
from tests.console.site import Account, Person
from tests.console.visitor import Visitor, expect
from tests.live.support import PASSWORD

Step = Callable[[Visitor, Account], None]
STATES: dict[str, Step] = {}
SIGNED_OUT: dict[str, Step] = {}


def state(step: Step) -> Step:
    """Register a state of the signed-in administrator."""
    STATES[step.__name__.replace("_", "-")] = step
    return step


def signed_out(step: Step) -> Step:
    SIGNED_OUT[step.__name__.replace("_", "-")] = step
    return step


@signed_out
def sign_in(visitor: Visitor, account: Account) -> None:
    visitor.open("/console/sign-in").sees("Sign in")


@signed_out
def sign_in_refused(visitor: Visitor, account: Account) -> None:
    visitor.sign_in(Person("", account.admin.email, "not this one"), lands=False)
    expect(visitor.field("Password")).to_have_attribute("aria-invalid", "true")


@signed_out
def second_step(visitor: Visitor, account: Account) -> None:
    fresh = account.site.account()
    add_phone(account.site, fresh.admin)
    visitor.sign_in(fresh.admin, lands=False)
    expect(visitor.field("Code")).to_be_visible()


@signed_out
def forgot(visitor: Visitor, account: Account) -> None:
    visitor.open("/console/forgot").sees("Forgot your password?")


@signed_out
def forgot_sent(visitor: Visitor, account: Account) -> None:
    visitor.open("/console/forgot")
    visitor.field("E-mail").fill(account.admin.email)
    visitor.button("Send a link").click()
    expect(visitor.field("E-mail")).to_have_count(0)


@signed_out
def reset(visitor: Visitor, account: Account) -> None:
    visitor.open(account.reset_link(account.member_named("Bob Berg"))).sees("Choose a new password")


@signed_out
def invitation(visitor: Visitor, account: Account) -> None:
    visitor.open(account.invitation).sees(f"Join {account.name}")
    expect(visitor.button("Join")).to_be_visible()


@signed_out
def invitation_gone(visitor: Visitor, account: Account) -> None:
    visitor.open(f"/console/invitation#{'x' * 43}").sees("This invitation is no longer valid")


@state
def users(visitor: Visitor, account: Account) -> None:
    visitor.open("/console/users")
    expect(visitor.row("Bob Berg")).to_be_visible()


@state
def users_row_menu(visitor: Visitor, account: Account) -> None:
    users(visitor, account)
    visitor.page.get_by_role("button", name="Actions for Bob Berg", exact=True).click()
    expect(visitor.menu_item("Change role")).to_be_visible()


@state
def users_own_menu(visitor: Visitor, account: Account) -> None:
    users(visitor, account)
    visitor.menu(account.admin).click()
    expect(visitor.menu_item("Account settings")).to_be_visible()


@state
def users_invite(visitor: Visitor, account: Account) -> None:
    users(visitor, account)
    visitor.button("Invite user").click()
    expect(visitor.dialog("Invite user").get_by_role("radio").first).to_be_visible()


@state
def users_invite_refused(visitor: Visitor, account: Account) -> None:
    users_invite(visitor, account)
    dialog = visitor.dialog("Invite user")
    dialog.get_by_role("button", name="Send invitation").click()
    expect(dialog.locator("[aria-invalid=true]").first).to_be_visible()


@state
def users_change_role(visitor: Visitor, account: Account) -> None:
    users(visitor, account)
    visitor.choose("Bob Berg", "Change role")
    visitor.pick(visitor.page.get_by_role("dialog"), "Developer")
    expect(visitor.page.get_by_role("dialog")).to_contain_text("gains")


@state
def users_remove(visitor: Visitor, account: Account) -> None:
    users(visitor, account)
    visitor.choose("Bob Berg", "Remove")
    expect(visitor.page.get_by_role("dialog").get_by_role("button", name="Remove Bob Berg")).to_be_visible()


@state
def users_suspend(visitor: Visitor, account: Account) -> None:
    users(visitor, account)
    visitor.choose("Bob Berg", "Suspend")
    expect(visitor.page.get_by_role("dialog").get_by_role("button", name="Suspend Bob Berg")).to_be_visible()


@state
def account_settings(visitor: Visitor, account: Account) -> None:
    visitor.open("/console/account-settings")
    expect(visitor.page.get_by_role("table", name="Sessions")).to_be_visible()


@state
def change_password(visitor: Visitor, account: Account) -> None:
    account_settings(visitor, account)
    visitor.button("Change password").click()
    expect(visitor.dialog("Change password").get_by_role("button", name="Submit")).to_be_visible()


@state
def change_password_refused(visitor: Visitor, account: Account) -> None:
    change_password(visitor, account)
    dialog = visitor.dialog("Change password")
    for label, text in (("Old password", PASSWORD), ("New password", "short"), ("Repeat new password", "short")):
        dialog.get_by_label(label, exact=True).fill(text)
    dialog.get_by_role("button", name="Submit").click()
    expect(dialog.locator("[aria-invalid=true]").first).to_be_visible()


@state
def factor_app(visitor: Visitor, account: Account) -> None:
    account_settings(visitor, account)
    visitor.button("Add authenticator app").click()
    expect(visitor.dialog("Add authenticator app").get_by_role("img")).to_be_visible()


@state
def factor_passkey(visitor: Visitor, account: Account) -> None:
    account_settings(visitor, account)
    visitor.button("Add passkey").click()
    expect(visitor.dialog("Add passkey").get_by_role("button", name="Create passkey")).to_be_visible()


@state
def factor_codes(visitor: Visitor, account: Account) -> None:
    """A user of its own: with the factor of a shared one, the next state would need a code."""
    visitor.context.clear_cookies()
    visitor.sign_in(account.site.account().admin)
    factor_app(visitor, account)
    dialog = visitor.dialog("Add authenticator app")
    dialog.get_by_label("Code").fill(Phone(dialog.locator("#key").inner_text().replace(" ", "")).code())
    dialog.get_by_role("button", name="Add", exact=True).click()
    expect(visitor.dialog("Recovery codes").get_by_role("listitem")).to_have_count(10)


@state
def factor_list(visitor: Visitor, account: Account) -> None:
    factor_codes(visitor, account)
    visitor.button("Done").click()
    expect(visitor.page.get_by_role("table", name="Second factors")).to_be_visible()


@state
def step_up(visitor: Visitor, account: Account) -> None:
    visitor.open("/console/step-up?rd=/console/users").sees("Confirm that it is you")
    expect(visitor.field("Password")).to_be_visible()


@state
def policy(visitor: Visitor, account: Account) -> None:
    visitor.open("/console/policy")
    expect(visitor.page.get_by_role("table", name="Permissions")).to_be_visible()


@state
def policy_explanation(visitor: Visitor, account: Account) -> None:
    policy(visitor, account)
    visitor.page.get_by_role("table", name="Permissions").get_by_role("button").first.click()
    expect(visitor.page.get_by_text("policy.csv:").first).to_be_visible()


@state
def policy_applied(visitor: Visitor, account: Account) -> None:
    users = [one["id"] for one in account.members()]
    changes = [change(users[:1], 1204), change(users, 7, action="change-plan", opens=False)]
    Candidate(visitor, progress(2, 3, "2999-11-30T18:30:00Z", *changes))
    policy(visitor, account)
    expect(visitor.page.get_by_role("region", name="Being applied")).to_contain_text("Carl Clerk")


@state
def policy_application_ended(visitor: Visitor, account: Account) -> None:
    candidate = Candidate(visitor, progress())
    policy(visitor, account)
    expect(visitor.page.get_by_role("region", name="Being applied")).to_be_visible()
    candidate.shown = {**progress(), "candidate": None}
    expect(visitor.page.get_by_text("has ended, and it is not in force.")).to_be_visible()


@state
def policy_edit(visitor: Visitor, account: Account) -> None:
    policy(visitor, account)
    choose_files(visitor, renamed_and_opened())
    expect(report(visitor).get_by_role("table", name="Grid")).to_be_visible()


@state
def policy_edit_findings(visitor: Visitor, account: Account) -> None:
    policy(visitor, account)
    choose_files(visitor, {"policy.csv": (POLICY + MISSPELT).encode()})
    report(visitor).get_by_text("1 further place").click()
    expect(visitor.page.get_by_role("button", name="policy.csv, line")).to_have_count(2)


@state
def audit(visitor: Visitor, account: Account) -> None:
    visitor.open("/console/audit").sees("Audit")
    expect(visitor.page.get_by_role("main").get_by_role("listitem").filter(has_text="Bob Berg").first).to_be_visible()


@state
def no_access(visitor: Visitor, account: Account) -> None:
    visitor.context.clear_cookies()
    visitor.sign_in(account.member_named("Bob Berg"))
    visitor.open("/console/audit")
    visitor.sees("Your role (Marketer) does not open this page")


@state
def one_member(visitor: Visitor, account: Account) -> None:
    visitor.context.clear_cookies()
    visitor.sign_in(account.site.account().admin).open("/console/users")
    expect(visitor.page.get_by_text("You are the only member. Invite somebody.")).to_be_visible()


@state
def users_full(visitor: Visitor, account: Account) -> None:
    full = account.site.account(seats=2)
    full.invite("Carl Clerk", "accountant")
    visitor.context.clear_cookies()
    visitor.sign_in(full.admin).open("/console/users")
    expect(visitor.button("Invite user")).to_be_disabled()
