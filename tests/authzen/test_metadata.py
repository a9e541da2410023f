"""AuthZEN 1.0, metadata of the policy decision point."""

from dataclasses import replace
from urllib.parse import urlsplit

from sidecar.domain.peps import Scope
from tests.authzen.conftest import URL, Pdp
from tests.authzen.test_transport import CALLS

METADATA = "/.well-known/authzen-configuration"


async def test_AZ_2_5_metadata_is_a_get_answered_with_200_and_json(pdp: Pdp) -> None:
    answer = await pdp.ask(METADATA, method="GET", bare=True)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert (await pdp.ask(METADATA, {}, bare=True)).status == 405


async def test_AZ_2_5_the_identifier_is_the_url_without_well_known(pdp: Pdp) -> None:
    identifier = (await pdp.ask(METADATA, method="GET", bare=True)).body["policy_decision_point"]
    assert identifier == URL
    app = urlsplit(identifier)
    assert (app.scheme, app.query, app.fragment) == ("https", "", "")


async def test_AZ_2_5_exactly_the_existing_endpoints_are_named(pdp: Pdp) -> None:
    body = (await pdp.ask(METADATA, method="GET", bare=True)).body
    assert body.keys() == {
        "policy_decision_point",
        "access_evaluation_endpoint",
        "access_evaluations_endpoint",
        "search_subject_endpoint",
        "search_resource_endpoint",
        "search_action_endpoint",
    }
    paths = {value.removeprefix(URL) for name, value in body.items() if name.endswith("_endpoint")}
    assert paths == set(CALLS)
    for path in paths:
        assert "/v1/" in path
        assert (await pdp.ask(path, CALLS[path])).status == 200


async def test_AZ_2_5_parameters_without_a_value_are_omitted(pdp: Pdp) -> None:
    body = (await pdp.ask(METADATA, method="GET", bare=True)).body
    assert all(isinstance(value, str) and value for value in body.values())


async def test_AZ_2_7_metadata_may_be_cached_for_a_while(pdp: Pdp) -> None:
    answer = await pdp.ask(METADATA, method="GET", bare=True)
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


async def test_AZ_2_5_a_listener_of_its_own_is_its_own_decision_point(pdp: Pdp) -> None:
    apart = replace(pdp.app.public_config, pdp_url="http://127.0.0.1:9183")
    object.__setattr__(pdp.app, "public_config", apart)
    body = (await pdp.ask(METADATA, method="GET", bare=True)).body
    assert body["policy_decision_point"] == "http://127.0.0.1:9183"
    assert body["access_evaluation_endpoint"] == "http://127.0.0.1:9183/access/v1/evaluation"


def test_a_scope_says_for_itself_what_it_is_for() -> None:
    assert [scope.value for scope in Scope] == ["evaluate", "search", "introspect"]
