"""AuthZEN 1.0 over HTTP: content types, errors, request ids (sections "Transport" and "Error Responses")."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sidecar.api.authzen import requests
from sidecar.store.errors import StoreUnavailableError
from tests.authzen.conftest import AccountsFixture, Pdp, question

CALLS = {
    "/access/v1/evaluation": question(("role", "marketer"), "view", ("section", "media-library")),
    "/access/v1/evaluations": question(("role", "marketer"), "view", ("section", "media-library")),
    "/access/v1/search/subject": question(("role", ""), "view", ("section", "media-library")),
    "/access/v1/search/resource": question(("role", "marketer"), "view", ("section", "")),
    "/access/v1/search/action": question(("role", "marketer"), "", ("section", "media-library")),
}
each_call = pytest.mark.parametrize("path", CALLS)


@each_call
async def test_AZ_2_1_the_five_calls_answer_a_post_with_200_and_json(pdp: Pdp, path: str) -> None:
    answer = await pdp.ask(path, CALLS[path])
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert isinstance(answer.body, dict)


@each_call
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_AZ_2_1_no_other_method_is_one_of_the_calls(pdp: Pdp, path: str, method: str) -> None:
    answer = await pdp.ask(path, CALLS[path] if method != "HEAD" else None, method=method)
    assert answer.status == 405
    assert answer.headers["Allow"] == "POST"


@each_call
@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json-patch+json", "application/jsonx", "json", ""],
)
async def test_AZ_2_1_another_content_type_is_400(pdp: Pdp, path: str, content_type: str) -> None:
    answer = await pdp.ask(path, CALLS[path], headers={"Content-Type": content_type})
    assert answer.status == 400
    assert "Content-Type" in answer.body


@each_call
async def test_AZ_2_1_no_content_type_is_400(pdp: Pdp, path: str) -> None:
    answer = await pdp.ask(path, CALLS[path], bare=True, headers={"Authorization": f"Bearer {pdp.key}"})
    assert answer.status == 400


@each_call
@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json ;x=y"]
)
async def test_AZ_2_1_content_type_parameters_and_case_are_ignored(pdp: Pdp, path: str, content_type: str) -> None:
    assert (await pdp.ask(path, CALLS[path], headers={"Content-Type": content_type})).status == 200


async def test_R29_what_is_remembered_of_a_question_is_its_body_alone(pdp: Pdp) -> None:
    """A head can be thirty times as long as a cached body and have no influence on the decision."""
    path = "/access/v1/evaluation"
    requests._evaluation_in.cache_clear()
    for number in range(3):
        parameter = {"Content-Type": f"application/json; x={number}{'x' * 4000}"}
        assert (await pdp.ask(path, CALLS[path], headers=parameter)).status == 200
    assert requests._evaluation_in.cache_info().currsize == 1
    assert (await pdp.ask(path, CALLS[path], headers={"Content-Type": "text/plain"})).status == 400


@each_call
@pytest.mark.parametrize("raw", [b"[]", b'"x"', b"null", b"7", b"", b"{", b'{"a":1,}', b"\xef\xbb\xbf{}", b"{} {}"])
async def test_AZ_2_1_a_body_that_is_not_one_object_is_400(pdp: Pdp, path: str, raw: bytes) -> None:
    answer = await pdp.ask(path, raw=raw)
    assert answer.status == 400
    assert isinstance(answer.body, str)


@each_call
async def test_AZ_2_1_unknown_members_are_ignored_anywhere(pdp: Pdp, path: str) -> None:
    def salted(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {"x-unknown": {"deep": [1, None]}, **{name: salted(member) for name, member in value.items()}}

    plain = await pdp.ask(path, CALLS[path])
    assert (await pdp.ask(path, salted(CALLS[path]))).body == plain.body


@each_call
async def test_AZ_2_1_the_order_of_members_carries_no_meaning(pdp: Pdp, path: str) -> None:
    def turned(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: turned(value[name]) for name in reversed(value)}

    plain = await pdp.ask(path, CALLS[path])
    assert (await pdp.ask(path, turned(CALLS[path]))).body == plain.body


# -- errors ------------------------------------------------------------------------------------------------------------


@each_call
async def test_AZ_2_6_every_error_is_a_status_and_a_message_string(pdp: Pdp, town: AccountsFixture, path: str) -> None:
    narrow = await town.key(frozenset())
    refused = {
        400: await pdp.ask(path, {}),
        401: await pdp.ask(path, CALLS[path], bare=True, headers={"Content-Type": "application/json"}),
        403: await pdp.ask(path, CALLS[path], key=narrow),
        413: await pdp.ask(path, raw=b" " * 600_000),
    }
    for status, answer in refused.items():
        assert answer.status == status
        assert answer.headers["Content-Type"] == "application/json"
        assert isinstance(answer.body, str)
        assert answer.body
        assert answer.headers["Cache-Control"] == "no-store"


@each_call
async def test_AZ_2_6_an_unauthenticated_pep_gets_401_and_a_challenge(pdp: Pdp, path: str) -> None:
    answer = await pdp.ask(path, CALLS[path], bare=True, headers={"Content-Type": "application/json"})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sidecar"'
    wrong = await pdp.ask(path, CALLS[path], key="pep_nonsense")
    assert wrong.status == 401
    assert wrong.headers["WWW-Authenticate"].startswith('Bearer realm="sidecar", error="invalid_token"')


@each_call
async def test_AZ_2_6_authentication_comes_before_the_body(pdp: Pdp, path: str) -> None:
    assert (await pdp.ask(path, raw=b"{", key="pep_nonsense")).status == 401


async def test_AZ_2_6_a_denial_is_always_200(pdp: Pdp) -> None:
    for subject, action, resource in (
        (("user", "usr_aaaaaaaaaaaa_aaaaaaaaaaaa"), "view", ("section", "billing")),
        (("role", "marketer"), "view", ("section", "billing")),
        (("role", "marketer"), "view", ("section", "nowhere")),
        (("role", "marketer"), "GET", ("route", "/a/../b")),
    ):
        answer = await pdp.evaluate(subject, action, resource)
        assert (answer.status, answer.body["decision"]) == (200, False)


@each_call
async def test_AZ_2_6_an_unknown_decision_is_503_with_retry_after(
    pdp: Pdp, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def out(*_words: object, **_more: object) -> None:
        raise StoreUnavailableError("out")

    monkeypatch.setattr(pdp.app.pep_keys._copies._store, "run", out)
    answer = await pdp.ask(path, CALLS[path])
    assert answer.status == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.headers["X-Auth-Reason"] == "store_unavailable"
    assert isinstance(answer.body, str)


@each_call
async def test_AZ_2_6_without_a_policy_nothing_is_known(pdp: Pdp, path: str) -> None:
    pdp.app.policy.generation = None
    answer = await pdp.ask(path, CALLS[path])
    assert (answer.status, answer.headers["X-Auth-Reason"]) == (503, "policy_unavailable")


async def test_AZ_2_6_until_the_store_is_proven_ours_nothing_is_known(pdp: Pdp) -> None:
    pdp.app.health.proven = False
    answer = await pdp.evaluate(("role", "marketer"), "view", ("section", "media-library"))
    assert answer.status == 503
    assert isinstance(answer.body, str)


@each_call
async def test_AZ_2_6_a_fault_of_ours_is_500_and_never_a_decision(
    pdp: Pdp, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.api.authzen.requests.strict_json", lambda _raw: 1 / 0)
    requests._evaluation_in.cache_clear()
    answer = await pdp.ask(path, CALLS[path])
    assert answer.status == 500
    assert isinstance(answer.body, str)


# -- request ids -------------------------------------------------------------------------------------------------------


@each_call
@pytest.mark.parametrize(
    "given", ["bfe9eb29-ab87-4ca3-be83-a1d5d8305716", "a b", 'x"y', "trace/1+2=3;4", "~!@#$%^&*()", "x" * 1024]
)
async def test_AZ_2_6_a_request_id_is_repeated_as_it_came(pdp: Pdp, path: str, given: str) -> None:
    assert (await pdp.ask(path, CALLS[path], headers={"X-Request-ID": given})).headers["X-Request-ID"] == given


async def test_AZ_2_6_a_request_id_is_repeated_with_errors_too(pdp: Pdp) -> None:
    for more in ({"raw": b"{"}, {"key": "pep_no"}, {"method": "GET"}, {"raw": b" " * 600_000}):
        answer = await pdp.ask("/access/v1/evaluation", headers={"X-Request-ID": "a/b"}, **more)
        assert answer.status >= 400
        assert answer.headers.getall("X-Request-ID") == ["a/b"]


async def test_AZ_2_6_without_a_request_id_one_is_made(pdp: Pdp) -> None:
    ask = pdp.evaluate(("role", "marketer"), "view", ("section", "media-library"))
    first, second = await ask, await pdp.evaluate(("role", "marketer"), "view", ("section", "media-library"))
    assert first.status == 200
    assert first.headers["X-Request-ID"] != second.headers["X-Request-ID"]


@pytest.mark.parametrize("given", ["x" * 1025, "caf\u00e9", "\u00ff"])
async def test_AZ_2_6_a_request_id_unsafe_in_a_header_is_replaced(pdp: Pdp, given: str) -> None:
    answer = await pdp.ask("/access/v1/evaluation", CALLS["/access/v1/evaluation"], headers={"X-Request-ID": given})
    assert answer.status == 200
    assert answer.headers["X-Request-ID"] != given


# -- limits ------------------------------------------------------------------------------------------------------------


async def test_AZ_2_7_a_body_over_the_limit_is_413(pdp: Pdp) -> None:
    body = json.dumps({**CALLS["/access/v1/evaluation"], "context": {"x": "y" * 65536}}).encode()
    answer = await pdp.ask("/access/v1/evaluation", raw=body)
    assert answer.status == 413
    assert "bytes" in answer.body


async def test_AZ_2_7_the_limit_holds_for_a_body_without_a_length(pdp: Pdp) -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 1024

    headers = {"Authorization": f"Bearer {pdp.key}", "Content-Type": "application/json"}
    async with pdp.client.post("/access/v1/evaluation", data=endless(), headers=headers) as response:
        assert response.status == 413


async def test_AZ_2_7_the_operators_limit_may_be_larger(pdp: Pdp) -> None:
    object.__setattr__(pdp.app, "public_config", replace(pdp.app.public_config, max_body=200_000))
    body = json.dumps({**CALLS["/access/v1/evaluation"], "context": {"x": "y" * 100_000}}).encode()
    assert (await pdp.ask("/access/v1/evaluation", raw=body)).status == 200


@each_call
async def test_AZ_2_7_decisions_are_never_cached(pdp: Pdp, path: str) -> None:
    assert (await pdp.ask(path, CALLS[path])).headers["Cache-Control"] == "no-store"


@each_call
@pytest.mark.parametrize(
    "raw",
    [
        b'{"subject":{"type":"role","id":"marketer","id":"account-administrator"}}',
        b'{"subject":1,"subject":2}',
        b'{"context":{"a":{"b":[{"c":1,"c":1}]}}}',
        b'{"x":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"x":["\\ud83d"]}',
        b'{"x":"\xff"}',
        b'{"x":NaN}',
        b'{"x":-Infinity}',
        b'{"x":1e400}',
        b'{"x":' + b"[" * 17 + b"]" * 17 + b"}",
        b'{"x":' + b'{"y":' * 17 + b"1" + b"}" * 18,
        b"[" * 30_000 + b"]" * 30_000,
        b'{"x":' + b"9" * 5000 + b"}",
    ],
    ids=lambda raw: repr(raw[:24]),
)
async def test_AZ_2_7_ambiguous_json_is_400(pdp: Pdp, path: str, raw: bytes) -> None:
    assert (await pdp.ask(path, raw=raw)).status == 400


async def test_AZ_2_7_surrogate_pairs_and_allowed_nesting_pass(pdp: Pdp) -> None:
    asked = {**CALLS["/access/v1/evaluation"], "context": {"x": "\U0001f600", "d": [[[[[[[[1]]]]]]]]}}
    assert (await pdp.ask("/access/v1/evaluation", asked)).body["decision"] is True


@each_call
async def test_AZ_2_7_null_for_an_optional_member_is_as_absent(pdp: Pdp, path: str) -> None:
    nothing = {"context": None, "page": None, "options": None, "evaluations": None}
    plain = await pdp.ask(path, CALLS[path])
    assert (await pdp.ask(path, {**CALLS[path], **nothing})).body == plain.body
