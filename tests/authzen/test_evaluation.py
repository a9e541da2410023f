"""AuthZEN 1.0, Access Evaluation: entities, decisions, reasons; and the contract's interpretations."""

from typing import Any

import pytest

from sidecar.domain.users import Status
from tests.authzen.conftest import OPERATOR, AccountsFixture, Pdp, question

MAY = question(("role", "marketer"), "view", ("section", "media-library"))
EVALUATION = "/access/v1/evaluation"


def without(name: str, member: str | None = None, **replaced: Any) -> dict[str, Any]:
    asked = {key: dict(value) for key, value in MAY.items()}
    if member is None:
        del asked[name]
    else:
        del asked[name][member]
    return {**asked, **replaced}


async def reason(pdp: Pdp, subject: Any, action: Any, resource: Any) -> str:
    answer = await pdp.evaluate(subject, action, resource)
    assert answer.status == 200
    assert answer.body["decision"] is False
    assert set(answer.body) == {"decision", "context"}
    return str(answer.body["context"]["reason"])


@pytest.mark.parametrize(
    "missing",
    [("subject", None), ("action", None), ("resource", None), ("subject", "type"), ("subject", "id"),
     ("action", "name"), ("resource", "type"), ("resource", "id")],
)  # fmt: skip
async def test_AZ_2_2_a_missing_required_member_is_400_and_named(pdp: Pdp, missing: Any) -> None:
    answer = await pdp.ask(EVALUATION, without(*missing))
    assert answer.status == 400
    assert answer.body == f"{'.'.join(filter(None, missing))} is missing"


@pytest.mark.parametrize(("name", "member"), [("subject", "type"), ("subject", "id"), ("action", "name"),
                                              ("resource", "type"), ("resource", "id")])  # fmt: skip
@pytest.mark.parametrize("value", [None, 1, True, [], {}, ["user"]])
async def test_AZ_2_2_required_members_are_strings(pdp: Pdp, name: str, member: str, value: Any) -> None:
    answer = await pdp.ask(EVALUATION, {**MAY, name: {**MAY[name], member: value}})
    assert answer.status == 400
    assert answer.body == f"{name}.{member} must be a string"


@pytest.mark.parametrize(("name", "member"), [("subject", "type"), ("subject", "id"), ("action", "name"),
                                              ("resource", "type"), ("resource", "id")])  # fmt: skip
async def test_R16_a_text_that_is_longer_than_a_path_is_400_and_named(pdp: Pdp, name: str, member: str) -> None:
    answer = await pdp.ask(EVALUATION, {**MAY, name: {**MAY[name], member: "a" * 8192}})
    assert answer.status == 200
    answer = await pdp.ask(EVALUATION, {**MAY, name: {**MAY[name], member: "a" * 8193}})
    assert (answer.status, answer.body) == (400, f"{name}.{member} must have at most 8192 characters")


@pytest.mark.parametrize("name", ["subject", "action", "resource"])
@pytest.mark.parametrize("value", [None, "user", 1, [], False])
async def test_AZ_2_2_entities_are_objects(pdp: Pdp, name: str, value: Any) -> None:
    answer = await pdp.ask(EVALUATION, {**MAY, name: value})
    assert (answer.status, answer.body) == (400, f"{name} must be an object")


@pytest.mark.parametrize("value", ["x", 1, [], True])
async def test_AZ_2_2_properties_and_context_are_objects(pdp: Pdp, value: Any) -> None:
    assert (await pdp.ask(EVALUATION, {**MAY, "context": value})).status == 400
    for name in ("subject", "action", "resource"):
        answer = await pdp.ask(EVALUATION, {**MAY, name: {**MAY[name], "properties": value}})
        assert (answer.status, answer.body) == (400, f"{name}.properties must be an object")


async def test_AZ_2_2_properties_and_context_are_optional(pdp: Pdp) -> None:
    full = {name: {**entity, "properties": {"a": {"b": 1}}} for name, entity in MAY.items()}
    assert (await pdp.ask(EVALUATION, {**full, "context": {"time": "2024-10-26T01:22-07:00"}})).body["decision"] is True
    assert (await pdp.ask(EVALUATION, MAY)).body["decision"] is True


async def test_AZ_2_2_the_decision_is_a_boolean_and_a_yes_stands_alone(pdp: Pdp) -> None:
    """A PEP may reject an allow with a context that it does not understand, so there is none."""
    assert (await pdp.ask(EVALUATION, MAY)).raw == b'{"decision":true}'


async def test_AZ_2_2_a_no_carries_its_reason_in_the_context(pdp: Pdp) -> None:
    answer = await pdp.evaluate(("role", "marketer"), "view", ("section", "billing"))
    assert answer.body == {"decision": False, "context": {"reason": "no_rule"}}


async def test_subject_by_user_id_and_by_email(pdp: Pdp, town: AccountsFixture) -> None:
    mark = town.users["mark"]
    for subject in (("user", mark), ("user", "mark@acme.example"), ("user", "Mark@ACME.example.")):
        assert await pdp.decides(subject, "view", ("section", "media-library"))
        assert await reason(pdp, subject, "view", ("section", "billing")) == "no_rule"


async def test_subject_by_email_ignores_spaces_around_it(pdp: Pdp, town: AccountsFixture) -> None:
    for typed in (" mark@acme.example", "mark@acme.example\n", "\tMark@acme.example "):
        assert await pdp.decides(("user", typed), "view", ("section", "media-library"))


async def test_a_subject_email_that_only_folds_alike_is_unknown(pdp: Pdp) -> None:
    for typed in ("m\uff41rk@acme.example", "mar\u212a@acme.example", "m\u24d0rk@acme.example"):
        expected = "unknown_user" if typed != "mar\u212a@acme.example" else "no_rule"  # U+212A is K, canonically
        assert await reason(pdp, ("user", typed), "view", ("section", "billing")) == expected


async def test_subject_by_role(pdp: Pdp) -> None:
    assert await pdp.decides(("role", "accountant"), "change-plan", ("section", "billing"))
    assert await pdp.decides(("role", "member"), "view", ("section", "account-settings"))
    assert await reason(pdp, ("role", "member"), "view", ("section", "billing")) == "no_rule"


async def test_explicit_deny_beats_the_allow_and_says_so(pdp: Pdp) -> None:
    assert await reason(pdp, ("role", "marketer"), "manage", ("section", "media-library")) == "explicit_deny"


@pytest.mark.parametrize(
    ("resource", "action", "decision"),
    [
        (("route", "/dashboard/billing/invoices"), "GET", "allowed"),
        (("route", "/dashboard/billing"), "HEAD", "allowed"),
        (("route", "/dashboard/billing/"), "POST", "allowed"),
        (("route", "/dashboard/media-library"), "GET", "no_rule"),
        (("route", "/dashboard/billing"), "get", "unmatched_path"),
        (("route", "/dashboard/billing"), "BREW", "unmatched_path"),
        (("route", "/nowhere"), "GET", "unmatched_path"),
        (("route", "/dashboard/analytics"), "POST", "unmatched_path"),
        (("route", "/dashboard/billing?x=1"), "GET", "ambiguous_path"),
        (("route", "/dashboard/../admin"), "GET", "ambiguous_path"),
        (("route", "/dashboard%2fbilling"), "GET", "ambiguous_path"),
        (("route", "https://x/dashboard/billing"), "GET", "ambiguous_path"),
        (("route", ""), "GET", "ambiguous_path"),
        (("section", "billing"), "GET", "unknown_action"),
        (("section", "billing"), "", "unknown_action"),
        (("section", "Billing"), "view", "unknown_section"),
        (("section", ""), "view", "unknown_section"),
        (("section", "*"), "*", "unknown_section"),
        (("section", "billing"), "*", "unknown_action"),
        (("document", "billing"), "view", "unknown_section"),
        (("", "billing"), "view", "unknown_section"),
        (("Section", "billing"), "view", "unknown_section"),
    ],
)
async def test_resource_by_section_and_by_route(pdp: Pdp, resource: Any, action: str, decision: str) -> None:
    if decision == "allowed":
        assert await pdp.decides(("role", "accountant"), action, resource)
    else:
        assert await reason(pdp, ("role", "accountant"), action, resource) == decision


async def test_a_public_path_is_open_to_whoever_exists(pdp: Pdp, town: AccountsFixture) -> None:
    shared = ("route", "/dashboard/media-library/shared/x")
    assert await pdp.decides(("user", town.users["anna"]), "GET", shared)
    assert await pdp.decides(("role", "accountant"), "GET", ("route", "/login"))
    assert await reason(pdp, ("user", town.users["anna"]), "POST", shared) == "unmatched_path"
    assert await reason(pdp, ("user", "nobody@acme.example"), "GET", shared) == "unknown_user"


@pytest.mark.parametrize(
    "subject",
    [
        ("user", "usr_aaaaaaaaaaaa_aaaaaaaaaaaa"),
        ("user", "nobody@acme.example"),
        ("user", "acme"),
        ("user", ""),
        ("user", "@"),
        ("user", "a@b@c"),
        ("user", "usr_"),
        ("role", "Marketer"),
        ("role", ""),
        ("role", "mark@acme.example"),
        ("identity", "mark@acme.example"),
        ("User", "mark@acme.example"),
        ("", ""),
    ],
)
async def test_a_subject_that_is_nobody_is_unknown(pdp: Pdp, subject: Any) -> None:
    assert await reason(pdp, subject, "view", ("section", "media-library")) == "unknown_user"


async def test_suspended_and_invited_users_may_nothing(pdp: Pdp, town: AccountsFixture) -> None:
    for name, why in (("sue", "suspended"), ("ivan", "unknown_user")):
        for subject in (("user", town.users[name]), ("user", f"{name}@acme.example")):
            for resource in (("section", "account-settings"), ("section", "billing"), ("section", "nowhere")):
                assert await reason(pdp, subject, "view", resource) == why


async def test_the_live_record_decides(pdp: Pdp, town: AccountsFixture) -> None:
    mark, section = town.users["mark"], ("section", "media-library")
    by_email = ("user", "mark@acme.example")
    users = town.people.users
    assert await pdp.decides(by_email, "view", section)
    await users.change(OPERATOR, mark.id, role="accountant")
    assert not await pdp.decides(by_email, "view", section)
    assert await pdp.decides(by_email, "view", ("section", "billing"))
    await users.change(OPERATOR, mark.id, status=Status.SUSPENDED)
    assert await reason(pdp, by_email, "view", ("section", "billing")) == "suspended"
    await users.remove(OPERATOR, mark.id)
    assert await reason(pdp, by_email, "view", ("section", "billing")) == "unknown_user"
    again = await town.member("mark", "developer")
    assert again.id != mark.id
    assert await pdp.decides(by_email, "view", ("section", "developer"))
    assert await reason(pdp, ("user", mark), "view", ("section", "developer")) == "unknown_user"


async def test_R20_another_accounts_users_are_no_such_subject(pdp: Pdp, town: AccountsFixture) -> None:
    for subject in (("user", town.users["eve"]), ("user", "eve@other.example")):
        assert await reason(pdp, subject, "view", ("section", "account-settings")) == "unknown_user"
    theirs = await town.key(account=town.users["eve"].account)
    answer = await pdp.evaluate(("user", town.users["eve"]), "view", ("section", "users"), key=theirs)
    assert answer.body == {"decision": True}


@pytest.mark.parametrize(
    "properties", [{"role": "account-administrator"}, {"decision": True}, {"id": "ada", "sub": "*"}]
)
async def test_R20_request_properties_and_context_never_decide(
    pdp: Pdp, town: AccountsFixture, properties: Any
) -> None:
    asked = question(("user", town.users["mark"]), "view", ("section", "billing"))
    claimed = {name: {**entity, "properties": properties} for name, entity in asked.items()}
    answer = await pdp.ask(EVALUATION, {**claimed, "context": properties, "role": "account-administrator"})
    assert answer.body == {"decision": False, "context": {"reason": "no_rule"}}


async def test_evaluations_are_counted_without_labels_from_input(pdp: Pdp) -> None:
    await pdp.evaluate(("role", "marketer"), "view", ("section", "x" * 300))
    await pdp.evaluate(("role", "marketer"), "view", ("section", "media-library"))
    text = pdp.app.metrics.exposition().decode()
    assert 'endpoint="/access/v1/evaluation",reason="unknown_section",section=""' in text
    assert 'section="media-library"' in text
    assert "xxx" not in text
