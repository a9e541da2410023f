"""Keep one comment of a pull request up to date: ``pull_request_comment.py REPORT.md``, called by action.yml.

The comment is found by a fixed hidden mark and its author, so that a comment of somebody else with the mark is left
alone. All input comes by the environment of the runner. A failure of the API is a warning: the step summary has the
report, and a pull request of a fork has no right to comment.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

MARK: Final = "<!-- policy-sidecar: policy diff -->"
MAX_CHARACTERS: Final = 60_000
PAGE: Final = 100
MAX_PAGES: Final = 50
TIMEOUT: Final = 20
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class CommentError(Exception):
    """Reason why there is no comment, in one line."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Rejects redirects, because the token would go along."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Api:
    """GitHub's API with one token, for one repository."""

    def __init__(self, url: str, repository: str, token: str) -> None:
        address = urlsplit(url)
        if address.scheme != "https" and address.hostname not in LOOPBACK:
            raise CommentError("GITHUB_API_URL is not https")
        if not re.fullmatch(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+", repository):
            raise CommentError("GITHUB_REPOSITORY is not OWNER/NAME")
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise CommentError("there is no token: give the input github-token")
        self._base = f"{url.rstrip('/')}/repos/{repository}/issues"
        self._token = token
        self._opener = urllib.request.build_opener(_NoRedirect)

    def call(self, method: str, path: str, body: Mapping[str, str] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - https, or loopback
            f"{self._base}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/vnd.github+json",
                "Content-Type": "application/json",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            right = ": the job needs the permission pull-requests: write" if error.code in (403, 404) else ""
            raise CommentError(f"GitHub responds with status {error.code} to {method}{right}") from None
        except (OSError, HTTPException, ValueError) as error:
            raise CommentError(f"GitHub does not respond to {method}: {type(error).__name__}") from None

    def comments(self, number: int) -> Iterator[dict[str, Any]]:
        for page in range(1, MAX_PAGES + 1):
            found = self.call("GET", f"{number}/comments?per_page={PAGE}&page={page}")
            if not isinstance(found, list):
                raise CommentError("GitHub's list of comments is none")
            yield from (one for one in found if isinstance(one, dict))
            if len(found) < PAGE:
                return


def number_of(event: str) -> int:
    """Return the number of the pull request of an event file."""
    try:
        number = json.loads(Path(event).read_text(encoding="utf-8"))["pull_request"]["number"]
    except (OSError, ValueError, KeyError, TypeError):
        raise CommentError("the event names no pull request") from None
    if type(number) is not int or number < 1:
        raise CommentError("the event names no pull request")
    return number


def is_own(comment: Mapping[str, Any], author: str) -> bool:
    user = comment.get("user")
    body = comment.get("body")
    login = user.get("login") if isinstance(user, dict) else None
    return login == author and isinstance(body, str) and body.startswith(MARK)


def update(api: Api, number: int, author: str, report: str) -> str:
    """Write the comment anew, or for the first time. Return the act as a word."""
    body = f"{MARK}\n{report}"[:MAX_CHARACTERS]
    for comment in api.comments(number):
        if is_own(comment, author) and type(comment.get("id")) is int:
            if comment["body"] == body:
                return "unchanged"
            api.call("PATCH", f"comments/{comment['id']}", {"body": body})
            return "updated"
    api.call("POST", f"{number}/comments", {"body": body})
    return "created"


def main(report: str, env: Mapping[str, str]) -> int:
    event = env.get("GITHUB_EVENT_NAME", "")
    if event == "pull_request_target":
        sys.stdout.write(
            "::error::pull_request_target would run the branch of a stranger with a token that may write\n"
        )
        return 2
    if event != "pull_request":
        sys.stdout.write("::notice::no pull request, so there is no comment\n")
        return 0
    try:
        api = Api(env.get("GITHUB_API_URL", ""), env.get("GITHUB_REPOSITORY", ""), env.get("COMMENT_TOKEN", ""))
        text = Path(report).read_text(encoding="utf-8")
        done = update(api, number_of(env.get("GITHUB_EVENT_PATH", "")), env.get("COMMENT_AUTHOR", ""), text)
    except CommentError as error:
        sys.stdout.write(f"::warning::no comment: {error}\n")
    else:
        sys.stdout.write(f"comment {done}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], os.environ))
