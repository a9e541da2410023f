"""``python -m tests.bench.collector PORT``: an OTLP collector that accepts everything and keeps nothing."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Accept(BaseHTTPRequestHandler):
    """Reads a body and answers 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Print nothing."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Accept).serve_forever()
