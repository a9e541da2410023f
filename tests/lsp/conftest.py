"""The language server in a process of its own, driven by pytest-lsp or by raw bytes."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from sidecar.policy.diagnostics import FILES
from tests.lsp.support import COMMAND, ROOT, RawClient, environment, path_in, write_root

if find_spec("pytest_lsp") is None:
    collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.name != "test_installed.py"]
else:
    import pytest_lsp
    from lsprotocol import types


@pytest.fixture(scope="session")
def seed() -> Mapping[str, bytes]:
    """The shipped files by bare name."""
    return {name: path_in(ROOT, name).read_bytes() for name in FILES}


@pytest.fixture
def root(tmp_path: Path, seed: Mapping[str, bytes]) -> Path:
    """A folder with the shipped policy."""
    write_root(tmp_path, seed)
    return tmp_path


@pytest.fixture
def start() -> Iterator[Callable[[], RawClient]]:
    """Start raw clients; all are ended afterwards."""
    clients: list[RawClient] = []

    def begin(*command: str) -> RawClient:
        clients.append(RawClient(command or COMMAND))
        return clients[-1]

    yield begin
    for client in clients:
        client.stop()


@pytest.fixture(scope="module")
def open_root(tmp_path_factory: pytest.TempPathFactory, seed: Mapping[str, bytes]) -> Path:
    """The folder of the module's `client`."""
    folder = tmp_path_factory.mktemp("root")
    write_root(folder, seed)
    return folder


if find_spec("pytest_lsp") is not None:

    @pytest_lsp.fixture(
        scope="module",
        config=pytest_lsp.ClientServerConfig(server_command=list(COMMAND), server_env=environment()),
    )
    async def client(client: pytest_lsp.LanguageClient, open_root: Path) -> AsyncIterator[None]:
        """A client with the shipped policy open as its root, and the capabilities of VS Code."""
        refreshes = (types.WORKSPACE_CODE_LENS_REFRESH, types.WORKSPACE_INLAY_HINT_REFRESH)
        for method in (types.CLIENT_REGISTER_CAPABILITY, *refreshes):
            client.feature(method)(lambda *_: None)
        capabilities = pytest_lsp.client_capabilities("visual-studio-code")
        params = types.InitializeParams(capabilities=capabilities, root_uri=open_root.as_uri())
        await client.initialize_session(params)
        yield
        await client.shutdown_session()
