"""The bench itself: its users match the store, its responses match the policy, its arithmetic is right. No threshold
here.
"""

import asyncio
import random
import time
import xml.etree.ElementTree as ET
from ipaddress import ip_address
from pathlib import Path

import pytest

from sidecar.domain.sessions import Method, Proof
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.decide import decide
from sidecar.policy.needs.facts import Facts
from sidecar.sources.policy_files import read_policy_files
from sidecar.store.connection import Store
from sidecar.store.users import Users
from sidecar.tokens.claims import Claims
from sidecar.tokens.verify import Verifier
from tests.bench import curves, fleet, needs, policies, restore, table, users, wire
from tests.bench.load import Run, read_run
from tests.bench.plot import svg
from tests.bench.processes import cpu_of
from tests.bench.targets import world as make_world
from tests.conftest import PATIENT_SECONDS


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> policies.Policy:
    return policies.write_policy(tmp_path_factory.mktemp("policy"), policies.of_rules(100))


@pytest.fixture(scope="module")
def mint(tmp_path_factory: pytest.TempPathFactory) -> users.Mint:
    return users.Mint.at(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def asked(policy: policies.Policy, mint: users.Mint) -> list[users.CheckCase]:
    crowd = list(users.population(200, policy.roles, random.Random(1)))
    return users.questions(crowd, policy, mint)


def test_a_policy_has_as_many_rules_as_it_is_asked_for(policy: policies.Policy) -> None:
    assert len(policy.generation.rules) == 100
    for shape in (policies.of_rules(24), policies.of_rules(20_000), policies.of_sections(50)):
        assert shape.teams * shape.areas * len(policies.ACTIONS) >= shape.rules - policies.SHIPPED_RULES


def test_what_is_called_right_is_what_the_policy_decides(policy: policies.Policy, asked: list[users.CheckCase]) -> None:
    for each in asked:
        ruling = decide(policy.generation, each.person.role, each.spot.section, each.spot.action)
        assert (ruling.reason == "allowed") is each.allowed
    assert 0.85 < sum(each.allowed for each in asked) / len(asked) < 0.99


async def test_people_are_as_the_store_reads_them(real_redis_url: str) -> None:
    crowd = users.write_users(
        real_redis_url, users.population(12, ["account-administrator", "accountant", "marketer"], random.Random(1))
    )
    store = await Store.open(real_redis_url, read_timeout=PATIENT_SECONDS, write_timeout=PATIENT_SECONDS)
    try:
        for person in crowd:
            record = await Users(store).record(person.id)
            assert record is not None
            assert (record.role, record.email, record.epoch) == (person.role, person.email, 1)
            assert set(record.sessions) == {person.session}
            assert record.status == "active"
            (session,) = record.sessions.values()
            assert [(proof.method, proof.at) for proof in session.methods] == [("password", session.signed_in_at)]
    finally:
        await store.close()


def test_tokens_are_the_sidecars_own(mint: users.Mint, asked: list[users.CheckCase]) -> None:
    verifier = Verifier(mint.keys.keys, users.ISSUER, users.AUDIENCE, users.DAY)
    for each in asked[:5]:
        claims = verifier.authentic(each.token)
        assert isinstance(claims, Claims)
        assert (claims.user, claims.session) == (each.person.id, each.person.session)
    assert len(mint.token(asked[0].person, padding=3000)) > 4000


def test_the_gateways_call_is_as_large_as_a_real_one(asked: list[users.CheckCase]) -> None:
    request = wire.gateway_check(asked[0])
    assert len(request.raw.split(b"\r\n\r\n")[0].split(b"\r\n")) - 1 >= 12
    assert 850 <= len(request.raw) <= 1300


def test_needs_on_every_cell_are_met_by_the_benchs_requests(
    policy: policies.Policy, asked: list[users.CheckCase], tmp_path: Path
) -> None:
    folder = needs.write_needs(policy, tmp_path / "needs")
    generation = compile_policy(read_policy_files(folder, policy.model).files, proof=ProofScope.NONE).generation
    assert generation is not None
    now = time.time()
    facts = Facts((Proof(Method.PASSWORD, "", int(now)),), int(now), now, ip_address(needs.CLIENT.decode()))
    number = generation.needs.class_of(facts)
    for each in asked:
        requirement = generation.needs.of(each.person.role, each.spot.section, each.spot.action)
        assert (requirement is not None) is each.allowed
        assert requirement is None or requirement.meets(number)
    many = needs.with_addresses([wire.gateway_check(each) for each in asked])
    assert len({one.raw.partition(b"X-Forwarded-For: ")[2].partition(b"\r")[0] for one in many}) == needs.ADDRESSES


def test_every_dialect_has_a_right_answer(asked: list[users.CheckCase]) -> None:
    yes, no = (next(each for each in asked if each.allowed is wanted) for wanted in (True, False))
    assert wire.is_right(wire.gateway_check(no), 403, b"")
    assert not wire.is_right(wire.gateway_check(no), 200, b"")
    assert wire.is_right(wire.json_check(yes), 200, b'{"decision": true, "reason": "allowed"}')
    assert not wire.is_right(wire.json_check(yes), 200, b'{"decision": false}')
    many = wire.json_check_many(yes, asked[:3])
    assert wire.is_right(many, 200, b'{"decisions":[{"decision":true},{"decision":false}]}')
    assert wire.is_right(wire.cerbos_check(no, token=True), 200, b'{"actions":{"view":"EFFECT_DENY"}}')
    assert wire.is_right(wire.authzen(no, "pep"), 200, b'{"decision":false}')


def test_cerbos_and_envoy_get_the_same_policy(policy: policies.Policy, mint: users.Mint, tmp_path: Path) -> None:
    policies.write_cerbos(tmp_path / "cerbos", policy, mint.jwks(), port=1)
    sections = {path.stem for path in (tmp_path / "cerbos" / "policies").iterdir()}
    assert sections == set(policy.generation.sections)
    written = policies.write_envoy(tmp_path / "envoy", policy, mint.jwks(), port=1, issuer="i", audience="a")
    assert "jwt_cache_size" in written.read_text()


def test_what_wrk_says_is_read() -> None:
    told = '{"requests": 10, "micros": 2000000, "refused": 1, "failed": 0, "p50": 500.0, "p99": 1500.0}'
    said = f"Running 1s test\n  1 threads\n{told}\n"
    assert read_run(said) == Run(10, 2.0, 1, 0, 0.5, 1.5)
    assert read_run(said).rate == 5
    with pytest.raises(RuntimeError, match="no such file"):
        read_run("", "no such file")


def test_ratios_are_medians_of_rounds() -> None:
    measured = {
        "Envoy jwt + RBAC": table.Measured([30.0, 60.0, 30.0]),
        "fast lane": table.Measured([10.0, 20.0, 30.0]),
    }
    wanted = table.Ratio("x", "Envoy jwt + RBAC", "fast lane", least=1.5)
    assert table.ratio(measured, wanted) == 3
    assert (wanted.verdict(3), wanted.verdict(1.4)) == ("ok", "short")
    most = table.Ratio("x", "fast lane", "y", most=1.15)
    assert (most.verdict(1.1), most.verdict(1.2), most.wanted) == ("ok", "short", "≤ 1.15×")
    assert table.ratio(measured, most) is None
    said = "\n".join(table.ratio_lines(measured, table.RATIOS))
    assert "| Envoy jwt + RBAC with cache / fast lane | 3.00× | ≥ 1.5× | ok |" in said


def test_spreads_and_curves_are_told() -> None:
    assert fleet.spread([float(number) for number in range(1, 101)]) == (50.5, 100.0, 100.0)
    points = [curves.Point(24, 10.0, 1.0, 1.0), curves.Point(20_000, 12.0, 1.2, 1.0)]
    assert "20,000 against 24: 1.20×, wanted ≤ 1.1×: short." in list(curves.lines(curves.RULES, points))


def test_a_plot_is_an_image() -> None:
    drawn = ET.fromstring(svg("a & b", "x", "y", [(1, 1.0), (1000, 3.0)]))  # noqa: S314 - our own
    assert drawn.tag.endswith("svg")
    assert len([part for part in drawn if part.tag.endswith("circle")]) == 2


def test_cpu_time_only_grows() -> None:
    before = cpu_of(1)
    assert cpu_of(1) >= before


@pytest.mark.slow
def test_a_revocation_is_measured_in_a_real_fleet() -> None:
    with make_world() as world:
        world.populate(10)
        found = asyncio.run(fleet.measure(world, 2, changes=3))
    assert found.sidecars == 2
    assert 0 < found.last[0] <= found.last[2]


@pytest.mark.slow
def test_the_restore_is_measured_on_a_real_server(real_redis_url: str, tmp_path: Path) -> None:
    costs = asyncio.run(restore.run(real_redis_url, 5, tmp_path))
    assert list(costs) == ["backup", "restore, empty store", "restore, same store"]
    assert all(cost.wall > 0 for cost in costs.values())
