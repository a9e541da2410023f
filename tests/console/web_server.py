"""A web server with the pages that a test writes, and every request that reaches it: another origin, or a dashboard."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class WebServer:
    """``cross_site``: its address at another site; ``same_site``: at the same host with another port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, str] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.cross_site = f"http://127.0.0.1:{port}"
        self.same_site = f"http://localhost:{port}"


@contextmanager
def serve() -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server_of_pages.seen.append((self.path, dict(self.headers)))
            body = server_of_pages.pages.get(self.path, "<!doctype html><title>page</title>").encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server_of_pages = WebServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server_of_pages
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
