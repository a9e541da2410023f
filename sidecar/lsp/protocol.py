"""Messages of JSON-RPC and of the Language Server Protocol: each request gets one response, whatever its content.

pygls gives the types, their conversion and the capabilities. It gives no response to parameters of a wrong type, and it
keeps a future per notification; therefore dispatch is here. Handlers run to their end, one after another.
"""

import json
import sys
from collections.abc import Callable, Generator
from typing import Any, Final

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
NOT_INITIALIZED: Final = -32002
REQUEST_FAILED: Final = -32803

MessageId = int | str | None


class RequestError(Exception):
    """Error response of a request: code and message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PolicyProtocol(LanguageServerProtocol):
    """Dispatch of messages. ``exit_status`` is set by the client's ``exit``."""

    def __init__(self, server: LanguageServer, converter: Any) -> None:
        super().__init__(server, converter)
        self.exit_status: int | None = None
        self.waiting: dict[str, str] = {}
        """Ids of own requests without a response yet, by method: at most one per method."""

    def fault(self, message: str) -> None:
        """Answer bytes that are no message."""
        self._respond_error(None, PARSE_ERROR, message)

    def receive(self, body: bytes) -> None:
        """Handle the body of a message. No body raises."""
        try:
            message = json.loads(body)
        except RecursionError:
            self.fault("the message is nested too deep")
        except (ValueError, UnicodeDecodeError) as error:
            self.fault(f"the message is not JSON: {error}")
        else:
            self._dispatch(message)

    def request(self, method: str, params: object = None) -> None:
        """Send a request to the client, unless one of this method is still without a response."""
        if method in self.waiting.values():
            return
        message_id = f"{method}#{len(self.waiting)}"
        self.waiting[message_id] = method
        self._write({"jsonrpc": "2.0", "id": message_id, "method": method, "params": params})

    def notify(self, method: str, params: Any | None = None) -> None:
        """Send a notification to the client."""
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    # -- messages of the client ----------------------------------------------------------------------------------------

    def _dispatch(self, message: object) -> None:
        if not isinstance(message, dict):
            self._respond_error(None, INVALID_REQUEST, "a message is an object")
            return
        message_id = message.get("id")
        if not isinstance(message_id, int | str) or isinstance(message_id, bool):
            if "id" in message and "method" in message:
                self._respond_error(None, INVALID_REQUEST, "an id is an integer or a string")
                return
            message_id = None
        method = message.get("method")
        if message.get("jsonrpc") != "2.0":
            self._respond_error(message_id, INVALID_REQUEST, 'jsonrpc is not "2.0"')
        elif isinstance(method, str):
            self._call(message_id, method, message, is_request="id" in message)
        elif "method" not in message and ("result" in message or "error" in message):
            self.waiting.pop(str(message_id), None)
        else:
            self._respond_error(message_id, INVALID_REQUEST, "a message has a method, a result or an error")

    def _call(self, message_id: MessageId, method: str, message: dict[str, Any], *, is_request: bool) -> None:
        """Run the handler of a method. Only a request has a response."""
        try:
            result = self._run(method, message, is_request=is_request)
        except RequestError as error:
            code, text = error.code, error.message
        except JsonRpcException as error:
            code, text = error.code, error.message
        except Exception as error:
            code, text = INTERNAL_ERROR, f"{type(error).__name__}: {error}"
            print(f"sidecar: {method}: {text}", file=sys.stderr)  # noqa: T201
        else:
            if is_request:
                self._write({"jsonrpc": "2.0", "id": message_id, "result": result})
            return
        if is_request:
            self._respond_error(message_id, code, text)

    def _run(self, method: str, message: dict[str, Any], *, is_request: bool) -> object:
        handler = self.fm.builtin_features.get(method) or self.fm.features.get(method)
        self._check_state(method, is_request=is_request)
        if handler is None or (method in NOTIFICATIONS) is is_request:
            raise RequestError(METHOD_NOT_FOUND, f"there is no {'request' if is_request else 'notification'} {method}")
        params = self._params(method, message)
        return _finished(handler, (params,), {})

    def _check_state(self, method: str, *, is_request: bool) -> None:
        if method == types.EXIT and not is_request:
            self.exit_status = 0 if self._shutdown else 1
        elif self._shutdown:
            raise RequestError(INVALID_REQUEST, "the server is shutting down: only exit may follow")
        elif method == types.INITIALIZE:
            if self._workspace is not None:
                raise RequestError(INVALID_REQUEST, "the server is initialized already")
        elif self._workspace is None:
            raise RequestError(NOT_INITIALIZED, "initialize must be the first request")

    def _params(self, method: str, message: dict[str, Any]) -> Any:
        """Return the converted parameters. Raises RequestError if their type is wrong."""
        kind = self.get_message_type(method)
        if kind is None or method in WITHOUT_PARAMS:
            return None
        try:
            return self._converter.structure(message, kind).params
        except Exception as error:
            reason = f"the parameters of {method} have the wrong type: {_first(error)}"
            raise RequestError(INVALID_PARAMS, reason) from error

    # -- messages to the client ----------------------------------------------------------------------------------------

    def _respond_error(self, message_id: MessageId, code: int, message: str) -> None:
        self._write({"jsonrpc": "2.0", "id": message_id, "error": {"code": code, "message": message[:1000]}})

    def _write(self, message: dict[str, Any]) -> None:
        """Write a message. ASCII, so that a lone surrogate of a buffer can be encoded."""
        assert self.writer is not None  # noqa: S101 - set before the first message
        body = json.dumps(message, default=self._serialize_message).encode("ascii")
        self.writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))

    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        """Return the capabilities. There are no commands: the server runs nothing."""
        result = yield from super().lsp_initialize(params)
        result.capabilities.execute_command_provider = None
        return result

    lsp_initialize.method_name = types.INITIALIZE  # type: ignore[attr-defined]

    def lsp_exit(self, *args: Any) -> None:  # type: ignore[override] # pygls' own ends the process
        """Leave the end to the reader of the stream."""

    lsp_exit.method_name = types.EXIT  # type: ignore[attr-defined]


NOTIFICATIONS: Final = frozenset(
    method for method, (message, result, *_) in types.METHOD_TO_TYPES.items() if result is None
)
WITHOUT_PARAMS: Final = frozenset((types.SHUTDOWN, types.EXIT))


def _finished(handler: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> object:
    """Return the result of a handler. pygls' own handlers are generators that yield further handlers."""
    result: Any = handler(*args, **(kwargs or {}))
    if not isinstance(result, Generator):
        return result
    steps: Generator[Any, Any, Any] = result
    value: object = None
    try:
        while True:
            inner, inner_args, inner_kwargs = steps.send(value)
            value = _finished(inner, inner_args, inner_kwargs)
    except StopIteration as stop:
        return stop.value


def _first(error: BaseException) -> str:
    """Return the innermost cause of a group of errors in one line."""
    inner = getattr(error, "exceptions", None)
    return _first(inner[0]) if inner else f"{type(error).__name__}: {error}"
