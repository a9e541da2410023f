"""Language server: sessions of the client's policies, and the table of features."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.protocol import default_converter

from sidecar import __version__
from sidecar.lsp import actions, completing, hints, hovering, navigation, publishing
from sidecar.lsp.connection import ClientConnection
from sidecar.lsp.folders import Override, locate, location_beside, path_of_uri
from sidecar.lsp.positions import Positions
from sidecar.lsp.protocol import PolicyProtocol
from sidecar.lsp.sessions import OpenBuffer, PolicySession, PolicySnapshot
from sidecar.policy.diagnostics import MODEL_FILE, POLICY_FILES
from sidecar.policy.editing.buffers import Buffer, BufferEdit
from sidecar.policy.editing.symbols import Occurrence, at_offset

WATCHED: Final = "**/{" + ",".join((*POLICY_FILES, MODEL_FILE)) + "}"


class PolicyServer(LanguageServer):
    """Server for the policies below the client's folders."""

    protocol: PolicyProtocol

    def __init__(self, override: Override) -> None:
        super().__init__(
            "sidecar policy",
            __version__,
            types.TextDocumentSyncKind.Full,
            protocol_cls=PolicyProtocol,
            converter_factory=default_converter,
        )
        self.sessions: list[PolicySession] = []
        self._override = override
        self._roots: dict[str, Path] = {}

    # -- the client's folders and buffers ------------------------------------------------------------------------------

    def begin(self, params: types.InitializeParams) -> None:
        """Locate the policies of all roots."""
        self._override = _override_of(params.initialization_options) or self._override
        folders = [folder.uri for folder in params.workspace_folders or ()]
        if not folders and params.root_uri is not None:
            folders = [params.root_uri]
        if not folders and params.root_path is not None:
            folders = ["file://" + params.root_path]
        self.change_roots(folders, ())

    def change_roots(self, added: Any, removed: Any) -> None:
        """Locate the policies again after folders were added or removed."""
        for uri in removed:
            self._roots.pop(uri, None)
        for uri in added:
            path = path_of_uri(uri)
            if path is not None:
                self._roots[uri] = path
        located = [place for root in self._roots.values() for place in locate(root, self._override)]
        kept = {session.location: session for session in self.sessions}
        for session in self.sessions:
            if session.location not in located:
                self._clear(session)
        self.sessions = [kept.get(place) or PolicySession(place) for place in dict.fromkeys(located)]
        for document in self.workspace.text_documents.values():
            self.open(document.uri, document.source, document.version)

    def open(self, uri: str, text: str, version: int | None) -> None:
        """Take a buffer in place of its file."""
        found = self.find(uri)
        if found is None:
            path = path_of_uri(uri)
            place = None if path is None else location_beside(path)
            if place is None:
                return
            self.sessions.append(PolicySession(place))
            found = self.find(uri)
        if found is not None:
            session, name = found
            before = session.open.get(name)
            has_mark = before.has_mark if before is not None else text.startswith("\ufeff")
            session.open[name] = OpenBuffer(uri, version, text, has_mark)
            session.stale = True

    def close(self, uri: str) -> None:
        """Read the file on disk again in place of a buffer."""
        found = self.find(uri)
        if found is None:
            return
        session, name = found
        closed = session.open.pop(name, None)
        session.stale = True
        if closed is not None and closed.uri != session.uri(name):  # the same file under another name
            params = types.PublishDiagnosticsParams(closed.uri, [])
            self.protocol.notify(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, params)

    def find(self, uri: str) -> tuple[PolicySession, str] | None:
        """Return the session and the bare name of a file, or None if it is no file of a policy."""
        path = path_of_uri(uri)
        for session in self.sessions:
            name = None if path is None else session.location.name_of(path)
            if name is not None:
                return session, name
        return None

    def place(self, document: types.TextDocumentIdentifier) -> "FilePlace | None":
        """Return the current state of a policy, for a file of it."""
        found = self.find(document.uri)
        if found is None:
            return None
        session, name = found
        if session.stale:
            self.run()  # a response never precedes the diagnostics of its state
        return FilePlace(self, session, name, session.snapshot)

    def positions(self, text: str) -> Positions:
        return Positions(text, self.workspace.position_encoding or types.PositionEncodingKind.Utf16)

    # -- work that follows from edits ----------------------------------------------------------------------------------

    def pending(self) -> bool:
        return any(session.stale for session in self.sessions)

    def run(self) -> None:
        """Compile changed policies, and publish the changed diagnostics."""
        changed = [self._publish(session) for session in self.sessions if session.stale]
        if any(changed):
            self._refresh()

    def _publish(self, session: PolicySession) -> bool:
        """Publish the files with new diagnostics. Returns whether there are any."""
        snapshot, any_changed = session.snapshot, False
        for name, found in publishing.per_file(snapshot.compiled.diagnostics).items():
            buffer = snapshot.buffer(name)
            published = (found, buffer.text if found else "", session.uri(name))
            if session.published.get(name, ([], "", session.uri(name))) == published:
                continue
            session.published[name] = published
            any_changed = True
            opened = session.open.get(name)
            diagnostics = list(publishing.to_protocol(found, buffer, self.positions(buffer.text)))
            self.protocol.notify(
                types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS,
                types.PublishDiagnosticsParams(session.uri(name), diagnostics, opened.version if opened else None),
            )
        return any_changed

    def _clear(self, session: PolicySession) -> None:
        for name in session.published:
            params = types.PublishDiagnosticsParams(session.uri(name), [])
            self.protocol.notify(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS, params)

    def _refresh(self) -> None:
        """Ask the client to request inlay hints and code lenses again: those of other files may have changed."""
        workspace = self.client_capabilities.workspace
        if workspace is None:
            return
        if workspace.inlay_hint is not None and workspace.inlay_hint.refresh_support:
            self.protocol.request(types.WORKSPACE_INLAY_HINT_REFRESH)
        if workspace.code_lens is not None and workspace.code_lens.refresh_support:
            self.protocol.request(types.WORKSPACE_CODE_LENS_REFRESH)


@dataclass(frozen=True)
class FilePlace:
    """File of a policy in its current state, as a request names it."""

    server: PolicyServer
    session: PolicySession
    name: str
    snapshot: PolicySnapshot

    @property
    def buffer(self) -> Buffer:
        return self.snapshot.buffer(self.name)

    @cached_property
    def positions(self) -> Positions:
        return self.server.positions(self.buffer.text)

    def at(self, position: types.Position) -> Occurrence | None:
        """Return the name at a position."""
        return at_offset(self.snapshot.occurrences, self.name, self.positions.offset(position))

    def location(self, name: str, start: int, end: int) -> types.Location:
        return types.Location(self.session.uri(name), self.positions_of(name).range(start, end))

    def positions_of(self, name: str) -> Positions:
        return self.positions if name == self.name else self.server.positions(self.snapshot.buffer(name).text)

    def workspace_edit(self, edits: Iterable[BufferEdit]) -> types.WorkspaceEdit:
        """Return edits of all files, for the client to apply. A file that is missing is created."""
        changes: dict[str, list[types.TextEdit]] = {}
        for edit in edits:
            changes.setdefault(self.session.uri(edit.file), []).append(self.positions_of(edit.file).edit(edit))
        return types.WorkspaceEdit(changes=changes)


def _override_of(options: Any) -> Override | None:
    """Return the places in ``initializationOptions``: ``policyDir`` and ``model``."""
    values = {key: getattr(options, key, None) for key in ("policyDir", "model")}
    if isinstance(options, dict):
        values = {key: options.get(key) for key in values}
    policy_dir, model = (value if isinstance(value, str) and value else None for value in values.values())
    return Override(policy_dir, model) if policy_dir or model else None


def build_server(override: Override) -> PolicyServer:
    """Return the server with all its features."""
    server = PolicyServer(override)
    _add_lifecycle(server)
    _add_documents(server)
    for module in (actions, completing, hints, hovering, navigation):
        module.add_features(server)
    return server


def _add_lifecycle(server: PolicyServer) -> None:
    feature = server.feature

    @feature(types.INITIALIZE)
    def initialize(params: types.InitializeParams) -> None:
        server.begin(params)

    @feature(types.INITIALIZED)
    def initialized(_: types.InitializedParams) -> None:
        workspace = server.client_capabilities.workspace
        watching = None if workspace is None else workspace.did_change_watched_files
        if watching is not None and watching.dynamic_registration:
            options = {"watchers": [{"globPattern": WATCHED}]}
            registration = {
                "id": "files",
                "method": types.WORKSPACE_DID_CHANGE_WATCHED_FILES,
                "registerOptions": options,
            }
            server.protocol.request(types.CLIENT_REGISTER_CAPABILITY, {"registrations": [registration]})

    @feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def did_change_files(_: types.DidChangeWatchedFilesParams) -> None:
        server.change_roots((), ())
        for session in server.sessions:
            session.stale = True

    @feature(types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def did_change_folders(params: types.DidChangeWorkspaceFoldersParams) -> None:
        event = params.event
        server.change_roots([one.uri for one in event.added], [one.uri for one in event.removed])


def _add_documents(server: PolicyServer) -> None:
    feature = server.feature

    @feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        server.open(document.uri, document.text, document.version)

    @feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        document = server.workspace.get_text_document(params.text_document.uri)
        server.open(params.text_document.uri, document.source, params.text_document.version)

    @feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        server.close(params.text_document.uri)

    @feature(types.TEXT_DOCUMENT_DID_SAVE)
    def did_save(_: types.DidSaveTextDocumentParams) -> None:
        for session in server.sessions:
            session.stale = True


def serve_stdio(override: Override) -> int:
    """Serve one client over standard input and output. Returns the exit status.

    Standard output has the protocol alone: anything else that is printed goes to standard error.
    """
    sys.dont_write_bytecode = True
    target = os.dup(1)
    os.dup2(2, 1)
    server = build_server(override)
    return ClientConnection(server.protocol, server, 0, target).serve()
