"""The judge itself: it must see an answer that is too old, and none that is not."""

from tests.chaos.truth import History, PolicyState, Token, UserState, rightly

ALLOWED = {"accountant": frozenset({("billing", "view")}), "marketer": frozenset()}
POLICY = History(PolicyState("g", ALLOWED))
TOKEN = Token("t", 1, 0)


def answers(history: History[UserState], sent: float, received: float) -> set[tuple[int, str]]:
    return rightly(history, POLICY, TOKEN, ("billing", "view"), (sent, received))["g"]


def test_while_a_change_is_under_way_both_answers_are_right() -> None:
    history = History(UserState("accountant"))
    history.begin(10, UserState("marketer"))
    assert answers(history, 1, 2) == {(200, "allowed")}
    assert answers(history, 1, 11) == {(200, "allowed"), (403, "no_rule")}
    history.acknowledge(12)
    assert answers(history, 11, 20) == {(200, "allowed"), (403, "no_rule")}
    assert answers(history, 12.1, 13) == {(403, "no_rule")}
    assert answers(history, 1, 9) == {(200, "allowed")}


def test_a_change_that_was_refused_never_held() -> None:
    history = History(UserState("accountant"))
    history.begin(10, UserState("marketer"))
    history.take_back()
    assert answers(history, 11, 12) == {(200, "allowed")}


def test_reasons_come_in_the_contracts_order() -> None:
    for state, reason in (
        (UserState("accountant", "removed", 2), "unknown_user"),
        (UserState("accountant", "suspended", 2), "suspended"),
        (UserState("accountant", epoch=2, ended=frozenset({0})), "revoked"),
        (UserState("accountant", ended=frozenset({0})), "session_ended"),
    ):
        assert answers(History(state), 0, 1) == {(401, reason)}


def test_an_answer_belongs_to_its_generation() -> None:
    policies = History(PolicyState("g", ALLOWED))
    policies.begin(5, PolicyState("h", {**ALLOWED, "accountant": frozenset()}))
    history = History(UserState("accountant"))
    right = rightly(history, policies, TOKEN, ("billing", "view"), (4, 6))
    assert right == {"g": {(200, "allowed")}, "h": {(403, "no_rule")}}
    policies.acknowledge(7)
    assert set(rightly(history, policies, TOKEN, ("billing", "view"), (8, 9))) == {"h"}


def test_a_need_is_met_by_the_session_that_has_shown_a_factor() -> None:
    needs = History(PolicyState("g", ALLOWED, frozenset({("accountant", "billing", "view")})))
    history = History(UserState("accountant"))
    for token, proven, right in (
        (TOKEN, frozenset(), (401, "step_up_required")),
        (TOKEN, frozenset({1}), (401, "step_up_required")),
        (TOKEN, frozenset({0}), (200, "allowed")),
        (None, frozenset({0}), (401, "step_up_required")),
    ):
        history.begin(0, UserState("accountant", proven=proven))
        history.acknowledge(0)
        assert rightly(history, needs, token, ("billing", "view"), (1, 2)) == {"g": {right}}
    assert UserState("marketer").answers(TOKEN, needs.now, "billing", "view") == (403, "no_rule")
