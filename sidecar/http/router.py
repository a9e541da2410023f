"""Router: exact paths first, then ``{name}`` segments. No prefixes and no regular expressions."""

from collections.abc import Iterable

from sidecar.domain.problems import Code, Problem
from sidecar.http.endpoint import Endpoint

Row = tuple[Endpoint, dict[str, str]]


class Router:
    """Endpoint table. Raises ValueError for two rows with the same method and path."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._exact: dict[str, dict[str, Endpoint]] = {}
        self._named: list[tuple[tuple[str, ...], dict[str, Endpoint]]] = []
        for endpoint in endpoints:
            methods = self._methods_at(endpoint.path)
            if endpoint.method in methods:
                raise ValueError(f"two endpoints for {endpoint.method} {endpoint.path}")
            methods[endpoint.method] = endpoint

    def find(self, method: str, path: str) -> Row | Problem:
        """Return the row of a method and path; GET's row serves HEAD.

        Else return a 404, or a 405 with the allowed methods.
        """
        methods, names = self._at(path)
        if methods is None:
            return Problem(Code.NOT_FOUND, "path not found; GET /openapi.json lists all paths")
        endpoint = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if endpoint is None:
            allowed = ", ".join(sorted(methods))
            return Problem(
                Code.METHOD_NOT_ALLOWED, f"method not allowed; this path accepts {allowed}", {"allow": allowed}
            )
        return endpoint, names

    def _at(self, path: str) -> tuple[dict[str, Endpoint] | None, dict[str, str]]:
        exact = self._exact.get(path)
        if exact is not None:
            return exact, {}
        segments = tuple(path.split("/"))
        for pattern, methods in self._named:
            names = _match(pattern, segments)
            if names is not None:
                return methods, names
        return None, {}

    def _methods_at(self, path: str) -> dict[str, Endpoint]:
        if "{" not in path:
            return self._exact.setdefault(path, {})
        pattern = tuple(path.split("/"))
        for known, methods in self._named:
            if known == pattern:
                return methods
        fresh: dict[str, Endpoint] = {}
        self._named.append((pattern, fresh))
        return fresh


def _match(pattern: tuple[str, ...], segments: tuple[str, ...]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    names: dict[str, str] = {}
    for wanted, segment in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not segment:
                return None
            names[wanted[1:-1]] = segment
        elif wanted != segment:
            return None
    return names
