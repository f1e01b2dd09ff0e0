"""A Hugging Face hub on loopback: what the client asks for, and faults on demand.

It speaks the hub's protocol over real sockets to the real `huggingface_hub` client:
repository info, resolve (regular files, and large ones behind a redirect to another
host), repository creation, pre-upload, Git LFS upload, commits and pull requests.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

WRITE_TOKEN = "hf_write"  # noqa: S105  no secret: the fake hub's own
READ_TOKEN = "hf_read"  # noqa: S105

_TOKENS = {None, READ_TOKEN, WRITE_TOKEN}
_WRONG_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105

POLL_S = 0.01  # how long a hub that is to stop may still wait

WEB_PAGE = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"


@dataclass
class Repository:
    """One repository: its commits, what its branches point to, who may see it."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add files on top of a branch and return the new commit's hash."""
        parent = self.branches.get(branch, self.branches.get("main", ""))
        content = {**self.commits.get(parent, {}), **files}
        listing = "".join(f"{name}{sha256(content[name])}" for name in sorted(content))
        sha = hashlib.sha1(f"{parent}{listing}".encode()).hexdigest()  # noqa: S324  as git does
        self.commits[sha] = content
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str | None:
        """Return the commit that a branch or a commit hash means."""
        sha = self.branches.get(revision, revision)
        return sha if sha in self.commits else None


@dataclass
class Fault:
    """What happens to a request instead of, or to, its answer.

    Attributes
    ----------
    pattern
        Requests whose ``METHOD /path`` it matches.
    times
        How many of them; each one counts down.
    status
        Answer with this status instead.
    error_code, error_message
        Headers of that answer.
    page
        Answer 200 with a web page instead.
    change
        Change the body of the answer; headers follow.
    break_off
        Announce the whole body, send half of it, and hang up.
    stall_s
        Say nothing for this long.
    headers
        Send these headers instead of, or besides, the right ones.
    endless, pause_s
        Send these bytes, with a pause after each time, until the client hangs up.
    """

    pattern: str
    times: int = 1_000_000
    status: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    page: bool = False
    change: Callable[[bytes], bytes] | None = None
    break_off: bool = False
    stall_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    endless: bytes = b""
    pause_s: float = 0.0


@dataclass
class FakeHub:
    """State of the server, shared by all its requests."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    large_files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    tokens_seen: dict[str, str | None] = field(default_factory=dict)
    url: str = ""
    storage_url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(
        self,
        name: str,
        files: dict[str, bytes],
        *,
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Make a repository with one commit and return the commit's hash."""
        repository = Repository(private=private, gated=gated)
        self.repositories[name] = repository
        for content in files.values():
            self.large_files[sha256(content)] = content
        return repository.commit(files)

    def fault_for(self, request: str) -> Fault | None:
        """Return the fault that a request meets, and count it down."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and re.search(fault.pattern, request):
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Run a hub on a free port of the loopback interface."""
    hub = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        port = server.server_address[1]
        hub.url = f"http://127.0.0.1:{port}"
        hub.storage_url = f"http://localhost:{port}"
        thread = threading.Thread(
            target=server.serve_forever, args=(POLL_S,), daemon=True
        )
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def sha256(content: bytes) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()


def is_large(name: str) -> bool:
    """Whether the hub's default attributes put a file into Git LFS."""
    return name.endswith(".safetensors")


def etag(name: str, content: bytes) -> str:
    """Return the hub's etag: SHA-256 of large files, git's blob hash of others."""
    if is_large(name):
        return sha256(content)
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob).hexdigest()  # noqa: S324  as git does


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection; routes are tried in order."""

    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def handle_request(self) -> None:
        split = urlsplit(self.path)
        request = f"{self.command} {unquote(split.path)}"
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.query = split.query
        self.hub.requests.append(request)
        self.hub.tokens_seen[request] = self.headers.get("Authorization")
        self.fault = self.hub.fault_for(request)
        if self.fault is not None:
            threading.Event().wait(self.fault.stall_s)
        if self.fault is not None and self.answer_fault(self.fault):
            return
        for pattern, answer in _ROUTES:
            if match := re.fullmatch(pattern, request):
                answer(self, body, **match.groupdict())
                return
        self.refuse(404, "", f"no such route: {request}")

    do_GET = do_HEAD = do_POST = do_PUT = handle_request  # noqa: N815  the names that http.server calls

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def answer_fault(self, fault: Fault) -> bool:
        if fault.status is not None:
            self.refuse(fault.status, fault.error_code or "", fault.error_message or "")
        elif fault.page:
            self.answer(200, WEB_PAGE, {"Content-Type": "text/html"})
        return fault.status is not None or fault.page

    def answer(
        self, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        if self.fault and self.fault.change and self.command == "GET":
            body = self.fault.change(body)
        if self.fault and self.fault.endless:
            self.send_without_end(self.fault)
            return
        self.send_response(status)
        own = self.fault.headers if self.fault else {}
        for name, value in {**(headers or {}), **own}.items():
            self.send_header(name, value)
        if "Content-Length" not in own:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.fault and self.fault.break_off:
            body = body[: len(body) // 2]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_without_end(self, fault: Fault) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(fault.endless)
                threading.Event().wait(fault.pause_s)

    def answer_json(self, value: Any, status: int = 200) -> None:
        headers = {"Content-Type": "application/json"}
        self.answer(status, json.dumps(value).encode(), headers)

    def refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Code": code} if code else {}
        if message:
            headers["X-Error-Message"] = message
        self.answer(status, json.dumps({"error": message}).encode(), headers)

    @property
    def token(self) -> str | None:
        header = self.headers.get("Authorization") or ""
        return header.removeprefix("Bearer ") or None

    def readable(self, name: str) -> Repository | None:
        """Return a repository, or refuse the request as the hub does."""
        if self.token not in _TOKENS:
            self.refuse(401, "", _WRONG_TOKEN)
            return None
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token is None):
            status = 401 if self.token is None else 404
            self.refuse(status, "RepoNotFound", "Repository not found")
            return None
        return repository

    def writable(self, name: str | None = None) -> bool:
        if self.token is None:
            self.refuse(401, "", "Invalid username or password.")
        elif self.token not in _TOKENS:
            self.refuse(401, "", _WRONG_TOKEN)
        elif self.token != WRITE_TOKEN:
            self.refuse(403, "", "You don't have the rights to write here")
        elif name is not None and name not in self.hub.repositories:
            self.refuse(404, "RepoNotFound", "Repository not found")
        else:
            return True
        return False

    def commit_of(self, name: str, revision: str) -> tuple[str, Repository] | None:
        repository = self.readable(name)
        if repository is None:
            return None
        sha = repository.resolve(revision)
        if sha is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return sha, repository

    def get_info(self, _body: bytes, name: str, revision: str | None) -> None:
        found = self.commit_of(name, revision or "main")
        if found is None:
            return
        sha, repository = found
        siblings = [{"rfilename": path} for path in repository.commits[sha]]
        self.answer_json(
            {
                "id": name,
                "sha": sha,
                "private": repository.private,
                "siblings": siblings,
            }
        )

    def get_file(self, _body: bytes, name: str, revision: str, path: str) -> None:
        found = self.commit_of(name, revision)
        if found is None:
            return
        sha, repository = found
        headers = {"X-Repo-Commit": sha}
        if repository.gated and self.token is None:
            self.refuse(403, "GatedRepo", "Access to this model is restricted")
        elif path not in repository.commits[sha]:
            headers["X-Error-Code"] = "EntryNotFound"
            self.answer(404, b"Entry not found", headers)
        else:
            self.send_file(path, repository.commits[sha][path], headers)

    def send_file(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        tag = f'"{etag(path, content)}"'
        if not is_large(path):
            self.answer(200, content, {**headers, "ETag": tag})
            return
        headers["X-Linked-Etag"] = tag
        headers["X-Linked-Size"] = str(len(content))
        headers["Location"] = f"{self.hub.storage_url}/storage/{sha256(content)}"
        self.answer(302, b"", headers)

    def get_large(self, _body: bytes, oid: str) -> None:
        content = self.hub.large_files[oid]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if start is None:
            self.answer(200, content, {"ETag": f'"{oid}"'})
            return
        first = int(start.group(1))
        span = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self.answer(206, content[first:], {"Content-Range": span})

    def create(self, body: bytes) -> None:
        if not self.writable():
            return
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}"
        url = {"url": f"{self.hub.url}/{name}"}
        if name in self.hub.repositories:
            self.answer_json({**url, "error": "You already created this repo"}, 409)
            return
        attributes = {".gitattributes": b"*.safetensors filter=lfs\n"}
        self.hub.add(name, attributes, private=wanted.get("visibility") == "private")
        self.answer_json(url)

    def validate_card(self, body: bytes) -> None:
        text = json.loads(body)["content"]
        try:
            yaml.safe_load(text.split("---\n")[1])
        except (yaml.YAMLError, IndexError) as error:
            self.answer_json({"errors": [{"message": str(error)}]}, 400)
        else:
            self.answer_json({"errors": [], "warnings": []})

    def preupload(self, body: bytes, name: str, **_revision: str) -> None:
        if not self.writable(name):
            return
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self.answer_json({"files": files})

    def lfs_batch(self, body: bytes, name: str) -> None:
        if not self.writable(name):
            return
        self.answer_json(
            {"transfer": "basic", "objects": [*map(self.lfs_object, _objects(body))]}
        )

    def lfs_object(self, wanted: dict[str, Any]) -> dict[str, Any]:
        place = f"{self.hub.storage_url}/storage/{wanted['oid']}"
        actions = {"upload": {"href": place}, "verify": {"href": f"{place}/verify"}}
        known = wanted["oid"] in self.hub.large_files
        return wanted if known else {**wanted, "actions": actions}

    def put_large(self, body: bytes, oid: str) -> None:
        if sha256(body) != oid:
            self.refuse(400, "", "the content does not have the announced hash")
            return
        self.hub.large_files[oid] = body
        self.answer(200)

    def verify_large(self, body: bytes, oid: str) -> None:
        wanted = json.loads(body)
        right = len(self.hub.large_files.get(oid, b"")) == wanted["size"]
        self.answer(200 if right else 400)

    def commit(self, body: bytes, name: str, revision: str) -> None:
        if not self.writable(name):
            return
        lines = [json.loads(line) for line in body.splitlines()]
        files = dict(self.file_of(line) for line in lines if line["key"] != "header")
        repository = self.hub.repositories[name]
        url = f"{self.hub.url}/{name}"
        pull_request = "create_pr=1" in self.query
        branch = "refs/pr/1" if pull_request else revision
        sha = repository.commit(files, branch)
        self.answer_json(
            {
                "success": True,
                "commitOid": sha,
                "commitUrl": f"{url}/commit/{sha}",
                "pullRequestUrl": f"{url}/discussions/1" if pull_request else None,
            }
        )

    def file_of(self, line: dict[str, Any]) -> tuple[str, bytes]:
        value = line["value"]
        if line["key"] == "lfsFile":
            return value["path"], self.hub.large_files[value["oid"]]
        return value["path"], base64.b64decode(value["content"])


def _objects(body: bytes) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = json.loads(body)["objects"]
    return objects


_NAME = r"(?P<name>[\w.-]+/[\w.-]+)"
_ROUTES: tuple[tuple[str, Callable[..., None]], ...] = (
    (rf"GET /api/models/{_NAME}(/revision/(?P<revision>.+))?", _Handler.get_info),
    (rf"POST /api/models/{_NAME}/preupload/(?P<revision>.+)", _Handler.preupload),
    (rf"POST /api/models/{_NAME}/commit/(?P<revision>.+)", _Handler.commit),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.validate_card),
    (rf"POST /{_NAME}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (r"GET /storage/(?P<oid>\w+)", _Handler.get_large),
    (r"PUT /storage/(?P<oid>\w+)", _Handler.put_large),
    (r"POST /storage/(?P<oid>\w+)/verify", _Handler.verify_large),
    (
        rf"(HEAD|GET) /{_NAME}/resolve/(?P<revision>.+)/(?P<path>[^/]+)",
        _Handler.get_file,
    ),
)
