"""AuthZEN 1.0, Access Evaluations: defaults, semantics, errors of items and of the whole."""

from typing import Any

import pytest

from sidecar.store.errors import StoreUnavailableError
from tests.authzen.conftest import AccountsFixture, Pdp, entity, question

EVALUATIONS = "/access/v1/evaluations"
YES = question(("role", "marketer"), "view", ("section", "media-library"))
NO = question(("role", "marketer"), "view", ("section", "billing"))
BROKEN = {"subject": {"type": "role"}}


def decisions(answer: Any) -> list[bool]:
    assert answer.status == 200, answer
    assert set(answer.body) == {"evaluations"}
    assert all(set(item) == {"decision"} for item in answer.body["evaluations"])
    return [item["decision"] for item in answer.body["evaluations"]]


@pytest.mark.parametrize("more", [{}, {"evaluations": []}, {"evaluations": None}])
async def test_AZ_2_3_without_evaluations_it_is_the_single_call(pdp: Pdp, more: dict[str, Any]) -> None:
    assert (await pdp.ask(EVALUATIONS, {**YES, **more})).body == {"decision": True}
    denied = await pdp.ask(EVALUATIONS, {**NO, **more})
    assert denied.body == {"decision": False, "context": {"reason": "no_rule"}}
    assert (await pdp.ask(EVALUATIONS, {**BROKEN, **more})).status == 400


async def test_AZ_2_3_answers_stand_in_the_order_of_the_questions(pdp: Pdp) -> None:
    assert decisions(await pdp.batch([YES, NO, YES, YES, NO])) == [True, False, True, True, False]


async def test_AZ_2_3_items_have_only_a_decision_and_the_top_has_none(pdp: Pdp) -> None:
    answer = await pdp.batch([YES, NO, BROKEN])
    assert answer.raw == b'{"evaluations":[{"decision":true},{"decision":false},{"decision":false}]}'


async def test_AZ_2_3_top_level_members_are_defaults(pdp: Pdp) -> None:
    subject, action = entity(("role", "marketer")), {"name": "view"}
    items = [{"resource": entity(("section", name))} for name in ("media-library", "billing")]
    assert decisions(await pdp.batch(items, subject=subject, action=action)) == [True, False]
    items.append({"resource": entity(("section", "media-library")), "action": {"name": "manage"}})
    assert decisions(await pdp.batch(items, subject=subject, action=action)) == [True, False, False]


async def test_AZ_2_3_top_level_defaults_are_replaced_whole(pdp: Pdp) -> None:
    """No deep merge: an item's ``{"id"}`` does not borrow the default's type, nor its ``{"type"}`` an id."""
    for name, part in (("subject", {"id": "marketer"}), ("resource", {"id": "media-library"}),
                       ("subject", {"type": "role"}), ("action", {"properties": {}})):  # fmt: skip
        assert decisions(await pdp.batch([{name: part}, {}], **YES)) == [False, True]


async def test_AZ_2_3_a_context_of_an_item_replaces_the_default_too(pdp: Pdp) -> None:
    assert decisions(await pdp.batch([{"context": {"a": 1}}, {"context": "x"}, {}], **YES, context={"b": 2})) == [
        True,
        False,
        True,
    ]


async def test_AZ_2_3_null_in_an_item_is_no_default(pdp: Pdp) -> None:
    assert decisions(await pdp.batch([{"subject": None}, {}], **YES)) == [False, True]


async def test_AZ_2_8_a_default_that_nobody_uses_may_be_malformed(pdp: Pdp) -> None:
    item = {"resource": entity(("section", "media-library"))}
    subject, action = entity(("role", "marketer")), {"name": "view"}
    for unused in ({}, None, "x", {"type": 7}):
        assert decisions(await pdp.batch([item], subject=subject, action=action, resource=unused)) == [True]
    assert decisions(await pdp.batch([item, {}], subject=subject, action=action, resource={})) == [True, False]


@pytest.mark.parametrize("items", [[], [YES]])
@pytest.mark.parametrize("semantic", ["", "execute-all", "EXECUTE_ALL", None, 1, True, [], {}])
async def test_AZ_2_8_an_unknown_semantic_is_400(pdp: Pdp, items: list[Any], semantic: Any) -> None:
    answer = await pdp.batch(items, **YES, options={"evaluations_semantic": semantic})
    assert answer.status == 400
    assert "execute_all, deny_on_first_deny, permit_on_first_permit" in answer.body


async def test_AZ_2_3_other_options_are_ignored(pdp: Pdp) -> None:
    assert decisions(await pdp.batch([YES], options={"another_option": "value"})) == [True]
    assert decisions(await pdp.batch([YES], options={})) == [True]


@pytest.mark.parametrize("options", ["execute_all", [], 1])
async def test_AZ_2_3_options_are_an_object(pdp: Pdp, options: Any) -> None:
    assert (await pdp.batch([YES], options=options)).status == 400


@pytest.mark.parametrize(
    ("semantic", "items", "answers"),
    [
        ("execute_all", [NO, YES, BROKEN, NO], [False, True, False, False]),
        (None, [NO, YES, BROKEN, NO], [False, True, False, False]),
        ("deny_on_first_deny", [YES, YES, NO, YES], [True, True, False]),
        ("deny_on_first_deny", [YES, BROKEN, YES], [True, False]),
        ("deny_on_first_deny", [NO, YES], [False]),
        ("deny_on_first_deny", [YES, YES], [True, True]),
        ("permit_on_first_permit", [NO, BROKEN, YES, YES, NO], [False, False, True]),
        ("permit_on_first_permit", [YES, NO], [True]),
        ("permit_on_first_permit", [NO, BROKEN, NO], [False, False, False]),
    ],
)
async def test_AZ_2_3_semantics(pdp: Pdp, semantic: str | None, items: list[Any], answers: list[bool]) -> None:
    """A semantic that ends a batch early makes the array of decisions shorter; the last one is the decisive one."""
    options = {} if semantic is None else {"options": {"evaluations_semantic": semantic}}
    assert decisions(await pdp.batch(items, **options)) == answers


@pytest.mark.parametrize("semantic", ["execute_all", "deny_on_first_deny", "permit_on_first_permit"])
async def test_AZ_2_3_a_batch_is_its_single_calls(pdp: Pdp, town: AccountsFixture, semantic: str) -> None:
    subjects = [("user", town.users[name]) for name in ("mark", "anna", "sue")] + [("role", "developer")]
    items = [
        question(subject, "view", ("section", section)) for subject in subjects for section in ("analytics", "billing")
    ]
    singles = [(await pdp.ask("/access/v1/evaluation", item)).body["decision"] for item in items]
    stop = {"execute_all": None, "deny_on_first_deny": False, "permit_on_first_permit": True}[semantic]
    expected = singles[: singles.index(stop) + 1] if stop in singles else singles
    options = {"evaluations_semantic": semantic}
    assert decisions(await pdp.batch(items, options=options)) == expected


@pytest.mark.parametrize("evaluations", ["x", 1, {}, True, [1], [YES, None], [[]], ["x"]])
async def test_AZ_2_8_evaluations_that_are_no_array_of_objects_are_400(pdp: Pdp, evaluations: Any) -> None:
    assert (await pdp.ask(EVALUATIONS, {**YES, "evaluations": evaluations})).status == 400


async def test_AZ_2_8_an_item_that_lacks_a_member_is_false_alone(pdp: Pdp) -> None:
    for broken in ({}, {"subject": YES["subject"]}, {**YES, "action": {}}, {**YES, "resource": {"type": 1, "id": "x"}}):
        assert decisions(await pdp.batch([YES, broken, YES])) == [True, False, True]


async def test_a_batch_holds_1_to_1000_questions_each_spelled_out(pdp: Pdp, town: AccountsFixture) -> None:
    item = question(("user", town.users["mark"]), "view", ("section", "media-library"))
    assert decisions(await pdp.batch([item])) == [True]
    assert decisions(await pdp.batch([item] * 1000)) == [True] * 1000
    answer = await pdp.batch([item] * 1001)
    assert (answer.status, answer.body) == (
        400,
        "evaluations may hold 1000 questions; send the others in a further request",
    )


async def test_a_subject_of_a_batch_is_read_once(
    pdp: Pdp, town: AccountsFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    record = pdp.app.subjects._records.read

    async def counted(uid: Any, **more: Any) -> Any:
        read.append(uid)
        return await record(uid, **more)

    monkeypatch.setattr(pdp.app.subjects._records, "read", counted)
    item = question(("user", town.users["mark"]), "view", ("section", "media-library"))
    assert decisions(await pdp.batch([item] * 20)) == [True] * 20
    assert read == [town.users["mark"].id]


async def test_what_cannot_be_known_is_503_for_the_whole(
    pdp: Pdp, town: AccountsFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A false caused by an unavailable store would be taken for the policy's decision."""

    async def out(_uid: Any, **_more: Any) -> Any:
        raise StoreUnavailableError("out")

    monkeypatch.setattr(pdp.app.subjects._records, "read", out)
    unknown = question(("user", town.users["mark"]), "view", ("section", "media-library"))
    answer = await pdp.batch([YES, unknown])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    options = {"evaluations_semantic": "permit_on_first_permit"}
    assert decisions(await pdp.batch([YES, unknown], options=options)) == [True]


async def test_every_item_is_counted(pdp: Pdp) -> None:
    await pdp.batch([YES, YES, NO, BROKEN])
    text = pdp.app.metrics.exposition().decode()
    counted = [line for line in text.splitlines() if "_checks_total{" in line and "/access/v1/evaluations" in line]
    assert sorted(float(line.rpartition(" ")[2]) for line in counted) == [1.0, 1.0, 2.0]
