"""Facts of the decision log, judged by other needs: a known answer is right, and the rest is unknown."""

import random
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address
from itertools import combinations, product

from sidecar.domain.decision import KnownFacts
from sidecar.domain.factors import FactorId
from sidecar.domain.sessions import Method, Proof
from sidecar.pdp.needs_check import class_of
from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.policy.needs.direct import DirectNeeds
from sidecar.policy.needs.facts import Facts
from sidecar.policy.needs.logged import are_met
from tests.pdp_fixture import user
from tests.policy.needs_policies import with_needs

CELL = ("accountant", "billing", "change-plan")
DEVICE = FactorId("totp_" + "a" * 16)


def test_logged_facts_are_judged_as_the_facts_or_not_at_all(seed: Mapping[str, bytes]) -> None:
    """Each known answer is that of the direct evaluator on the facts, for all pairs of two policies' lines."""
    asked = ["second-factor", "passkey", "recent-sign-in", "fresh", "office", "paid-plan", "passkey | fresh"]
    lines = [f"needs, {', '.join(CELL)}, {one}\n" for one in asked]
    lines += [first + second for first, second in combinations(lines, 2)]
    policies = [compile_policy(with_needs(seed, one, ""), proof=ProofScope.NONE).draft for one in lines]
    found, rng = Counter[bool | None](), random.Random(1)
    for before, after in product(policies, policies):
        assert before is not None
        assert after is not None
        direct = DirectNeeds(after.files)
        applying = direct.lines_for_cell(direct.lines_for_role(CELL[0]), *CELL[1:])
        for _ in range(3):
            known, logged = some_facts(rng, before)
            answer = are_met(after.needs, after.needs.lines_of(*CELL), logged)
            found[answer] += 1
            assert answer in (None, direct.meets(applying, known)), (before.files["needs.csv"], known)
    assert min(found[True], found[False], found[None]) > 50, found


def some_facts(rng: random.Random, generation: Generation) -> tuple[Facts, KnownFacts]:
    """Return random facts, and what a log of this generation holds of them."""
    now, methods = 1_700_000_000, (Method.PASSWORD, Method.TOTP, Method.PASSKEY)
    ages = (10, 299, 300, 301, 800, 901, 5000, -60)
    proofs = tuple(Proof(one, DEVICE, now - rng.choice(ages)) for one in methods if rng.random() < 0.6)
    proofs = proofs or (Proof(Method.PASSWORD, "", now),)
    client = ip_address(rng.choice(["192.0.2.7", "203.0.113.9"]))
    labels = rng.choice([{}, {"plan": "pro"}])
    record = user("b", CELL[0], labels=labels, factors={DEVICE: 0})
    signed_in_at = max(proof.at for proof in proofs)
    made = class_of(generation, record, proofs, signed_in_at, now=now, leeway=5.0)
    return Facts(proofs, signed_in_at, now, client, labels, 5.0), made.known
