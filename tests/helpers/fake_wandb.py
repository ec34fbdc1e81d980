"""A W&B server on this machine: enough of GraphQL, file stream and uploads for the real client, with faults."""

import json
import re
import socket
import threading
from collections import defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

FAULTS = ("hang", "429", "500", "refused", "garbage", "dies")
PHASES = ("init", "log", "finish")
KEY = "a" * 40


class StoredRun:
    """One run on the server: rows by line, as the file stream sends them, and what else it was given."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.lines: dict[int, str] = {}
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.files: dict[str, bytes] = {}
        self.offsets: list[int] = []

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the history, in the order of their lines."""
        return [json.loads(self.lines[line]) for line in sorted(self.lines)]


class FakeWandb:
    """The server. `break_at` is the phase from which on each request meets the fault; None: it is healthy."""

    def __init__(self, fault: str = "hang", break_at: str | None = None) -> None:
        self.fault = fault
        self.break_at = break_at
        self.is_broken = False
        self.is_dead = False
        self.runs: dict[str, StoredRun] = defaultdict(StoredRun)
        self.requests: list[str] = []
        self.alerts: list[dict[str, Any]] = []
        self.projects = ["thaw"]
        self.views: dict[str, dict[str, Any]] = {}
        self.released = threading.Event()
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.fake = self
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead the client here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def __enter__(self) -> Self:
        if self.break_at == "init":
            self.fail()
        return self

    def __exit__(self, *_error: object) -> None:
        self.released.set()
        self.die()

    def reach(self, phase: str) -> None:
        """Break down if this is the phase for it."""
        if phase == self.break_at:
            self.fail()

    def fail(self) -> None:
        """Meet every request from now on with the fault."""
        self.is_broken = True
        if self.fault == "refused":
            self.die()

    def die(self) -> None:
        """Refuse connections from now on."""
        if not self.is_dead:
            self.is_dead = True
            threading.Thread(target=self.server.shutdown, daemon=True).start()
            with suppress(OSError):
                self.server.socket.shutdown(socket.SHUT_RDWR)
            self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    fake: FakeWandb

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are the test."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815  (names of the base class)

    def _handle(self) -> None:
        fake = self.server.fake
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        fake.requests.append(f"{self.command} {self.path} {body[:300]!r}")
        if fake.is_broken:
            self._fail(fake.fault)
        elif self.path == "/graphql":
            self._reply(json.dumps({"data": self._graphql(json.loads(body))}).encode())
        elif found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            self._stream(fake.runs[found[1]], json.loads(body))
            self._reply(b"{}")
        elif found := re.fullmatch(r"/upload/([^/]+)/(.+)", self.path):
            fake.runs[found[1]].files[found[2]] = body
            self._reply(b"")
        else:
            self._reply(b"{}", 404)

    def _fail(self, fault: str) -> None:
        fake = self.server.fake
        if fault == "hang":
            fake.released.wait(600)
        elif fault == "garbage":
            self._reply(b"<html>\xff\xfe\x00 Sign in to the hotel's network</html>")
        elif fault in ("429", "500", "401", "403", "404"):
            self._reply(b'{"errors": [{"message": "no"}]}', int(fault))
        else:  # refused, dies: in the middle of the answer
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            fake.die()
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _reply(self, body: bytes, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, run: StoredRun, request: dict[str, Any]) -> None:
        for name, chunk in (request.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                run.offsets.append(chunk["offset"])
                for number, line in enumerate(chunk["content"], chunk["offset"]):
                    run.lines[number] = line
            elif name == "wandb-summary.json":
                run.summary |= json.loads(chunk["content"][-1])
        if request.get("complete"):
            run.exit_code = request.get("exitcode")

    def _graphql(self, request: dict[str, Any]) -> Any:
        fake, query, given = self.server.fake, request["query"], request.get("variables") or {}
        operation = re.search(r"(?:query|mutation)\s+(\w+)", query)
        name = operation[1] if operation else ""
        entity = {"id": "e", "name": "someone", "organization": None}
        if name == "UpsertBucket":
            run_id = given.get("name") or given.get("id")
            run = fake.runs[run_id]
            inserted = not run.fields
            run.fields |= {key: value for key, value in given.items() if value is not None}
            project = {"id": "p", "name": given.get("project") or "thaw", "entity": entity}
            bucket = {
                "id": run_id,
                "name": run_id,
                "displayName": given.get("displayName"),
                "description": "",
                "config": "{}",
                "sweepName": None,
                "project": project,
                "historyLineCount": len(run.lines),
            }
            return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}
        if name == "RunResumeStatus":
            return {"model": {"id": "p", "name": "thaw", "entity": entity, "bucket": self._bucket(given["name"])}}
        if name == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{fake.url}/upload/{given['run']}/{file}"} for file in given["files"]]
            return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}
        if name == "NotifyScriptableRunAlert":
            fake.alerts.append(given)
            return {"notifyScriptableRunAlert": {"success": True}}
        if name in ("Viewer", "GetViewer"):
            viewer = {"id": "u", "entity": "someone", "username": "someone", "email": "a@b.c", "flags": "{}"}
            viewer |= {"name": "S. Omeone", "admin": False, "deletedAt": None, "apiKeys": {"edges": []}}
            return {"viewer": {**viewer, "teams": {"edges": []}}}
        if name == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if name == "ArtifactType":
            return {"project": {"artifact": None}}
        if name == "CreateArtifact":  # known already: nothing more is uploaded for it
            sequence = {"id": "s", "latestArtifact": {"id": "a", "versionIndex": 0}}
            return {"createArtifact": {"artifact": {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}}}
        return self._page(name, given)

    def _page(self, name: str, given: dict[str, Any]) -> Any:
        """Answer what saving a workspace or a report asks for."""
        fake = self.server.fake
        if name == "GetDefaultEntity":
            return {"viewer": {"id": "u", "entity": "someone"}}
        if name == "GetProjects":
            empty = {"entityName": given["entity"], "createdAt": "", "isBenchmark": False, "user": None}
            edges = [{"node": {"__typename": "Project", "id": each, "name": each, **empty}} for each in fake.projects]
            page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
            return {"models": {"pageInfo": page, "edges": edges}}
        if name == "ProjectInternalId":
            return {"project": {"id": "p", "internalId": "cDox"}}
        if name == "SpecificReport":
            return {"view": fake.views.get(given["reportId"])}
        if name in ("UpsertView2", "upsertView"):
            key = given.get("id") or f"view{len(fake.views)}"
            project = {"id": "p", "name": given["projectName"], "entityName": given["entityName"]}
            inserted = key not in fake.views
            fake.views[key] = {**given, "id": key, "project": project, "updatedAt": "2026-01-01T00:00:00Z"}
            return {"upsertView": {"view": fake.views[key], "inserted": inserted}}
        return {}

    def _bucket(self, run_id: str) -> dict[str, Any] | None:
        if run_id not in self.server.fake.runs:
            return None
        run = self.server.fake.runs[run_id]
        tail = json.dumps([run.lines[max(run.lines)]] if run.lines else [])
        return {
            "id": run_id,
            "name": run_id,
            "summaryMetrics": json.dumps(run.summary),
            "displayName": "",
            "logLineCount": 0,
            "historyLineCount": len(run.lines),
            "eventsLineCount": 0,
            "historyTail": tail,
            "eventsTail": "[]",
            "config": "{}",
            "tags": [],
            "notes": None,
            "wandbConfig": "{}",
        }
