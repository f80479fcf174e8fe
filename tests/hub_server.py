"""A tiny Hugging Face hub on 127.0.0.1, models and data sets alike, with faults to order.

with HubServer() as hub:
    commit = hub.add("owner/name", {"config.json": b"{}"})            # kind="dataset" for a data set
    hub.faults["model.safetensors"] = "short"                         # or "damaged", "cut", "hang"
    … HF_ENDPOINT=hub.url …
    hub.requests                                                      # [("GET", "/api/models/owner/name"), …]

Answers what `huggingface_hub` asks: repository info, tree, paths-info, and files by HEAD and GET with ranges; and to
whoever has the token of `writer`: repositories made, files uploaded (large ones as LFS has it), commits.
Files named .safetensors, .bin or .parquet are served as large files, that is with their SHA-256 as ETag.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".safetensors", ".bin", ".parquet")
API = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
WRITES = re.compile(r"(?:/api/models)?/([^/]+/[^/]+?)(?:/(preupload|commit)/main|\.git/info/lfs/objects/batch)")
FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class Repo:
    """The commits of one repository, each a table of files, and the branches that point to them."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)


class HubServer:
    """The server, a context manager; `down()` closes its port as if the network were gone."""

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.faults: dict[str, str] = {}  # file → "short", "damaged", "hang"; "cut" for the first GET only
        self.gated: set[str] = set()
        self.writer = "hf_writer"  # the token that may write
        self.large: dict[str, bytes] = {}  # uploaded, by SHA-256
        self.private: set[str] = set()
        self.closed, self.resume = threading.Event(), threading.Event()  # `resume` ends every "hang"
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._http.daemon_threads = True
        self._http.block_on_close = False  # clients keep idle connections open
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def down(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            self.resume.set()
            self._http.shutdown()
            self._http.server_close()

    def add(self, repo: str, files: dict[str, bytes], *, kind: str = "model", branch: str = "main") -> str:
        """Commit the files to the branch; return the commit."""
        entry = self.repos.setdefault((kind, repo), Repo())
        commit = hashlib.sha1(repr((repo, kind, sorted(files.items()), len(entry.commits))).encode()).hexdigest()
        entry.commits[commit] = dict(files)
        entry.branches[branch] = commit
        return commit


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet

    def do_GET(self) -> None:
        self._answer(b"")

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_PUT(self) -> None:
        self.hub.requests.append((self.command, self.path))
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.large[self.path.rsplit("/", 1)[1]] = data
        self._send(200, b"", {"ETag": '"1"'})

    def _written(self, path: str, body: bytes) -> bool:
        """Answer a request that writes; return whether it was one."""
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif not (path == "/api/repos/create" or WRITES.fullmatch(path)):
            return False
        elif self.headers.get("Authorization") != f"Bearer {self.hub.writer}":
            self._refuse(401, "Unauthorized")
        elif path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            if ("model", repo) in self.hub.repos:
                told = json.dumps({"error": "it is there", "url": f"{self.hub.url}/{repo}"}).encode()
                self._send(409, told, {"Content-Type": "application/json"})
                return True
            self.hub.add(repo, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.hub.private.add(repo)
            self._json({"url": f"{self.hub.url}/{repo}"})
        else:
            self._json(self._uploaded(*WRITES.fullmatch(path).groups(), body))  # type: ignore[union-attr]
        return True

    def _uploaded(self, repo: str, verb: str | None, body: bytes) -> Any:
        if verb is None:  # LFS's batch
            objects = [{**one, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}"}}}
                       for one in json.loads(body)["objects"]]  # fmt: skip
            return {"transfer": "basic", "objects": objects}
        if verb == "preupload":
            told = [(one["path"], one["path"].endswith(LARGE)) for one in json.loads(body)["files"]]
            modes = {True: "lfs", False: "regular"}
            return {"files": [{"path": name, "uploadMode": modes[big], "shouldIgnore": False} for name, big in told]}
        entry = self.hub.repos["model", repo]
        files = dict(entry.commits[entry.branches["main"]])
        for line in map(json.loads, body.decode().splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.large[value["oid"]]
            elif line["key"] == "deletedFile":
                files.pop(value["path"])
        commit = self.hub.add(repo, files)
        url = f"{self.hub.url}/{repo}/commit/{commit}"
        return {"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""}

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        path = urlsplit(self.path).path
        if self.hub.closed.is_set():  # the port is closed, but a connection kept alive would still be served
            self.close_connection = True
            return
        self.hub.requests.append((self.command, unquote(path)))
        self.hub.tokens.add(self.headers.get("Authorization"))
        if self._written(path, body):
            return
        if match := API.fullmatch(path):
            kind, repo, verb, revision, rest = match.groups()
        elif match := FILE.fullmatch(path):
            kind, repo, verb = "dataset" if match[1] else "model", match[2], "resolve"
            revision, rest = match[3], match[4]
        else:
            return self._refuse(404, "NotFound")
        entry = self.hub.repos.get((kind, repo))
        if entry is None:
            return self._refuse(404, "RepoNotFound")
        if repo in self.hub.gated:
            return self._refuse(403, "GatedRepo")
        name = unquote(revision or "main")
        commit = entry.branches.get(name, name)
        if commit not in entry.commits:
            return self._refuse(404, "RevisionNotFound")
        files = entry.commits[commit]
        if verb == "resolve":
            return self._file(files, unquote(rest), commit)
        if verb == "tree":
            under = unquote(rest or "").rstrip("/")
            return self._json([_listed(name, data) for name, data in files.items() if name.startswith(under)])
        if verb == "paths-info":
            wanted = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode()).get("paths", [])
            return self._json([_listed(name, files[name]) for name in wanted if name in files])
        siblings = [
            {"rfilename": name, "blobId": listed["oid"]}
            | {key: listed[key] for key in ("size", "lfs") if key in listed}
            for name, listed in ((name, _listed(name, data)) for name, data in files.items())
        ]
        self._json({"id": repo, "sha": commit, "siblings": siblings, "private": False, "tags": [], "downloads": 0})

    def _file(self, files: dict[str, bytes], name: str, commit: str) -> None:
        if name not in files:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        data, fault = files[name], self.hub.faults.get(name)
        headers = {"ETag": f'"{_etag(name, data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if fault == "hang":
            self.hub.resume.wait()
        if self.command == "HEAD":
            return self._send(200, data, headers)
        if fault == "damaged":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if fault == "short":
            return self._send(200, data[: len(data) // 2], headers)
        if fault == "cut":
            del self.hub.faults[name]
            self.close_connection = True
            return self._send(200, data, headers, cut=len(data) // 2)
        if start := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            at = int(start[1])
            headers["Content-Range"] = f"bytes {at}-{len(data) - 1}/{len(data)}"
            return self._send(206, data[at:], headers)
        self._send(200, data, headers)

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", {"X-Error-Code": code, "X-Error-Message": code} | (headers or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str], cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:cut])


def _listed(name: str, data: bytes) -> dict[str, Any]:
    """Return what the tree says of a file: for a large one its SHA-256, for a small one its git id."""
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data), "oid": _git(data)}
    if name.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        entry["lfs"]["sha256"] = entry["lfs"]["oid"]  # `siblings` name it so, the tree `oid`
    return entry


def _etag(name: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if name.endswith(LARGE) else _git(data)


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
