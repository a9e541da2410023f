"""Generations for tests of the store: the packaged policy, and versions of it that differ by a comment or a role."""

from functools import cache

from sidecar.policy.compiler import ProofScope, compile_policy
from sidecar.policy.generation import Generation
from sidecar.policy.transfer.packing import digest_of, pack
from sidecar.sources.policy_files import packaged, read_policy_files
from sidecar.store import keys
from sidecar.store.generation_records import GenerationTerms, MarkState
from sidecar.store.policy_generations import PolicyGenerations
from sidecar.tokens.opaque import Pepper

PEPPER = Pepper(b"p" * 32)


@cache
def packaged_files() -> dict[str, bytes]:
    return dict(read_policy_files(*packaged()).files)


@cache
def generation(name: str) -> Generation:
    """Return the packaged policy with a comment: another generation for another name."""
    files = packaged_files()
    edited = {**files, "policy.csv": files["policy.csv"] + f"# {name}\n".encode()}
    compiled = compile_policy(edited, proof=ProofScope.NONE)
    assert compiled.generation is not None
    return compiled.generation


def terms_of(found: Generation, counter: int, **more: str) -> GenerationTerms:
    return GenerationTerms(found.id, digest_of(pack(found.files)), counter, **more)


async def registered(store, name: str, lease: int = 60_000, told: str = "{}") -> None:
    at = [keys.sidecars(0), keys.feed(0), keys.partition_meta(0)]
    await store.run("register", at, [name, str(lease), told, "", ""], write=True)


class Applying:
    """Applications to one store, step by step."""

    def __init__(self, store, pepper: Pepper = PEPPER) -> None:
        self.store = store
        self.generations = PolicyGenerations(store, pepper)
        self.counter = 0

    async def candidate(self, found: Generation, *, counter: int | None = None, seconds: float = 60.0, **more: str):
        self.counter += 1
        terms = terms_of(found, counter or self.counter, **more)
        return await self.generations.store_candidate(terms, pack(found.files), seconds=seconds)

    async def ready(self, candidate, *sidecars: str) -> None:
        for sidecar in sidecars:
            await self.generations.mark(candidate, sidecar, MarkState.READY)

    async def activate(self, candidate, found: Generation, **more):
        return await self.generations.activate(candidate, found, by="test", **more)

    async def applied(self, found: Generation, *sidecars: str, **more: str):
        """Store, accept in all ``sidecars``, and activate."""
        candidate = await self.candidate(found, **more)
        await self.ready(candidate, *sidecars)
        return await self.activate(candidate, found)
