"""A model hub on this machine: commits, branches, digests, redirects to a second host for large files.

It speaks what `huggingface_hub` expects (tests/unit/worker/fetching/test_fetching.py asks that library), and
it can be told to lie.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import unquote, urlsplit

Answer = Callable[[BaseHTTPRequestHandler], None]


def commit_of(number: int) -> str:
    return f"{number:040x}"


@dataclass
class Hub:
    """`models`: repo → commit → path → bytes. `answers`: path of a request → what answers it instead."""

    models: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent_headers: list[dict[str, str]] = field(default_factory=list)
    small_bytes: int = 100
    """Files up to this size are git's own, and not redirected."""

    def __enter__(self) -> Self:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.asked.append(self.path)
                hub.sent_headers.append({name.lower(): value for name, value in self.headers.items()})
                answer = hub.answers.get(urlsplit(self.path).path, hub._answer)
                try:
                    answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def files_url(self) -> str:
        """Of the host of large files: the same server by its other name."""
        return f"http://localhost:{self.port}"

    def add(self, repo: str, files: dict[str, bytes], *, branch: str = "main") -> str:
        """A new commit on the branch."""
        commits = self.models.setdefault(repo, {})
        commit = commit_of(len(commits) + 0xC0FFEE)
        commits[commit] = files
        self.branches[repo, branch] = commit
        return commit

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        match parts:
            case ["api", "models", owner, name, "revision", revision]:
                self._describe(request, f"{owner}/{name}", revision)
            case ["blobs", digest]:
                files = [
                    file
                    for commits in self.models.values()
                    for one in commits.values()
                    for file in one.values()
                ]
                found = next((file for file in files if hashlib.sha256(file).hexdigest() == digest), None)
                send(request, 404 if found is None else 200, found or b"")
            case [owner, name, "resolve", revision, *path]:
                self._resolve(request, f"{owner}/{name}", revision, "/".join(path))
            case _:
                send(request, 404, b"")

    def _files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        commit = self.branches.get((repo, revision), revision)
        files = self.models.get(repo, {}).get(commit)
        return None if files is None else (commit, files)

    def _describe(self, request: BaseHTTPRequestHandler, repo: str, revision: str) -> None:
        if (found := self._files(repo, revision)) is None:
            send(request, 404, b'{"error":"Repository not found"}', {"X-Error-Code": "RevisionNotFound"})
            return
        commit, files = found
        send_json(request, self.description(repo, commit, files))

    def description(self, repo: str, commit: str, files: dict[str, bytes]) -> dict[str, Any]:
        siblings = []
        for path, content in files.items():
            one: dict[str, Any] = {"rfilename": path, "size": len(content), "blobId": git_sha1(content)}
            if len(content) > self.small_bytes:
                digest = hashlib.sha256(content).hexdigest()
                one["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(one)
        return {"id": repo, "sha": commit, "private": False, "tags": [], "downloads": 0, "siblings": siblings}

    def _resolve(self, request: BaseHTTPRequestHandler, repo: str, revision: str, path: str) -> None:
        found = self._files(repo, revision)
        if found is None or path not in found[1]:
            send(request, 404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
            return
        commit, content = found[0], found[1][path]
        if len(content) <= self.small_bytes:
            send(request, 200, content, {"X-Repo-Commit": commit, "ETag": f'"{git_sha1(content)}"'})
            return
        digest = hashlib.sha256(content).hexdigest()
        headers = {
            "X-Repo-Commit": commit,
            "X-Linked-Etag": f'"{digest}"',
            "X-Linked-Size": str(len(content)),
            "Location": f"{self.files_url}/blobs/{digest}?X-Amz-Expires=3600",
        }
        send(request, 302, b"", headers)


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def send(
    request: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str] | None = None
) -> None:
    request.send_response(status)
    for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)


def send_json(request: BaseHTTPRequestHandler, value: object) -> None:
    send(request, 200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def redirects_to(location: str) -> Answer:
    return lambda request: send(request, 302, b"", {"Location": location})


def endless(request: BaseHTTPRequestHandler) -> None:
    """Chunks for ever, of no stated length."""
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    while True:
        request.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def drips(request: BaseHTTPRequestHandler) -> None:
    """A byte now and then."""
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    for _ in range(1000):
        request.wfile.write(b"x")
        request.wfile.flush()
        time.sleep(0.05)


def cut(content: bytes, stated: int) -> Answer:
    """Says that `stated` bytes come, sends `content` and hangs up."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        send(request, 200, content, {"Content-Length": str(stated)})
        request.wfile.flush()
        request.close_connection = True

    return answer


def without_an_end(request: BaseHTTPRequestHandler) -> None:
    """Says neither how long the body is nor that it comes in chunks."""
    request.send_response(200)
    request.end_headers()
    request.wfile.write(b"half of a file")
    request.close_connection = True


def slow_headers(request: BaseHTTPRequestHandler) -> None:
    """One header after the other, for ever."""
    request.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        request.wfile.write(b"X-%d: 1\r\n" % number)
        request.wfile.flush()
        time.sleep(0.1)
