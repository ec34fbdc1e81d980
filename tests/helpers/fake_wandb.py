"""A W&B server on this machine: enough of GraphQL, file stream and uploads for the real client, with faults.

It keeps the rules of the service: rows only grow, and the id of a deleted run is gone. An operation that no installed
client ships, or that is not answered here, fails the test in which it is asked.
"""

import importlib.util
import json
import re
import socket
import threading
from collections import defaultdict
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

FAULTS = ("hang", "429", "500", "refused", "garbage", "dies")
PHASES = ("init", "log", "finish")
KEY = "a" * 40


@cache
def shipped_operations() -> frozenset[str]:
    """Names of the GraphQL operations in the files of the installed clients."""
    found: set[str] = set()
    for package in ("wandb", "wandb_workspaces"):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        for file in [*Path(spec.origin).parent.rglob("*.py"), *Path(spec.origin).parent.glob("bin/wandb-core*")]:
            names = re.findall(rb"(?:query|mutation)\s+(\w+)", file.read_bytes())
            found |= {name.decode() for name in names}
    return frozenset(found)


class StoredRun:
    """One run on the server: rows by line, as the file stream sends them, and what else it was given."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.lines: dict[int, str] = {}
        self.summary: dict[str, Any] = {}
        self.exit_code: int | None = None
        self.files: dict[str, bytes] = {}
        self.offsets: list[int] = []
        self.config: dict[str, Any] = {}
        self.logged: dict[str, list[str]] = {}
        self.used: list[str] = []

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the history, in the order of their lines."""
        return [json.loads(self.lines[line]) for line in sorted(self.lines)]


class FakeWandb:
    """The server. `break_at` is the phase from which on each request meets the fault; None: it is healthy."""

    def __init__(self, fault: str = "hang", break_at: str | None = None, cut_after: int | None = None) -> None:
        """After `cut_after` bytes of requests the connection is cut, in the middle of one, for good."""
        self.fault = fault
        self.cut_after = cut_after
        self.received = 0
        self.violations: list[str] = []
        self.deleted: set[str] = set()
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
        assert self.violations == []

    def delete(self, run_id: str) -> None:
        """Delete a run, as a person may in W&B."""
        del self.runs[run_id]
        self.deleted.add(run_id)

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
        length = int(self.headers.get("Content-Length") or 0)
        fake.received += length
        if fake.cut_after is not None and fake.received > fake.cut_after:
            self.rfile.read(max(0, length - (fake.received - fake.cut_after)))
            fake.die()
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        body = self.rfile.read(length)
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        fake.requests.append(f"{self.command} {self.path} {body[:300]!r}")
        if fake.is_broken:
            self._fail(fake.fault)
        elif self.path == "/graphql":
            self._answer(json.loads(body))
        elif found := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path):
            self._stream(fake.runs[found[1]], json.loads(body))
            self._reply(b"{}")
        elif found := re.fullmatch(r"/upload/([^/]+)/(.+)", self.path):
            fake.runs[found[1]].files[found[2]] = body
            self._reply(b"")
        else:
            self._reply(b"{}", 404)

    def _answer(self, request: dict[str, Any]) -> None:
        fake, given = self.server.fake, request.get("variables") or {}
        found = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
        name = found[1] if found else request["query"][:60]
        if name not in shipped_operations():
            fake.violations.append(f"no client ships the operation {name}")
        if name == "UpsertBucket" and given.get("name") in fake.deleted:
            message = f"run {given['name']} was previously created and deleted; try a new run name"
            self._reply(json.dumps({"errors": [{"message": message}]}).encode(), 409)
            return
        data = self._graphql(name, given)
        if data is None:
            fake.violations.append(f"{name} is not answered here")
        self._reply(json.dumps({"data": data or {}}).encode())

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
                steps = [row.get("_step", 0) for row in run.rows]
                if steps != sorted(set(steps)):
                    self.server.fake.violations.append(f"the steps of a run must grow, got {steps}")
            elif name == "wandb-summary.json":
                run.summary |= json.loads(chunk["content"][-1])
        if request.get("complete"):
            run.exit_code = request.get("exitcode")

    def _graphql(self, name: str, given: dict[str, Any]) -> Any:
        """Answer an operation; None for one that is not known here."""
        fake = self.server.fake
        entity = {"id": "e", "name": given.get("entity") or "someone", "organization": None}
        if name == "UpsertBucket":
            run_id = given.get("name") or str(given["id"]).removeprefix("bucket:")
            run = fake.runs[run_id]
            inserted = not run.fields
            run.fields |= {key: value for key, value in given.items() if value is not None}
            run.config |= json.loads(given.get("config") or "{}")
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
        return self._artifact(name, given) or self._read(name, given) or self._page(name, given)

    def _artifact(self, name: str, given: dict[str, Any]) -> Any:
        """Answer what keeping and using an artifact asks for; its files are known already, and not uploaded."""
        fake = self.server.fake
        if name == "ArtifactType":
            return {"project": {"artifact": None}}
        if name == "CreateArtifact":
            made = given.get("input") or given
            key = f"{made.get('artifactCollectionName') or made.get('artifactCollectionNames')}"
            aliases = [alias["alias"] for alias in made.get("aliases") or []]
            if made.get("runName") is not None:  # none where a run only uses it
                fake.runs[made["runName"]].logged[key] = sorted(aliases)
            sequence = {"id": "s", "latestArtifact": {"id": key, "versionIndex": 0}}
            return {"createArtifact": {"artifact": {"id": key, "state": "COMMITTED", "artifactSequence": sequence}}}
        if name == "ArtifactByID":
            project = {"id": "p", "internalId": "7", "name": "thaw", "entity": {"name": "someone"}}
            sequence = {"__typename": "ArtifactSequence", "name": given["id"], "project": project}
            fixed = {"__typename": "Artifact", "id": given["id"], "versionIndex": 0, "artifactType": {"name": "trial"}}
            fixed |= {"artifactSequence": sequence, "description": None, "metadata": "{}", "ttlDurationSeconds": -2}
            fixed |= {"ttlIsInherited": True, "tags": [], "historyStep": None, "state": "COMMITTED", "size": 1}
            fixed |= {"digest": "d", "commitHash": None, "fileCount": 1, "createdAt": "2026-01-01T00:00:00Z"}
            return {"artifact": {**fixed, "updatedAt": None, "aliases": []}}
        if name == "UseArtifact":
            made = given.get("input") or given
            fake.runs[made["runName"]].used.append(made["artifactID"])
            return {"useArtifact": {"artifact": {"id": made["artifactID"]}}}
        return None

    def _read(self, name: str, given: dict[str, Any]) -> Any:
        """Answer what reading runs through the public API asks for."""
        fake = self.server.fake
        if name == "Runs":
            wanted = json.loads(given["filters"] or "{}")
            matching = [run_id for run_id in fake.runs if self._matches(run_id, wanted)]
            first = int(given["cursor"] or 0)
            page = matching[first : first + min(given["perPage"], 3)]  # small, so that there are several
            edges = [{"cursor": str(n), "node": self._node(run_id)} for n, run_id in enumerate(page, first + 1)]
            end = {"endCursor": str(first + len(page)), "hasNextPage": first + len(page) < len(matching)}
            runs = {"edges": edges, "pageInfo": end}
            return {"project": {"internalId": "7", "runCount": len(matching), "readOnly": False, "runs": runs}}
        if name == "Run":
            node = self._node(given["name"]) if given["name"] in fake.runs else None
            return {"project": {"run": node, "internalId": "7"}}
        if name == "RunFullHistory":
            lines = [fake.runs[given["name"]].lines[line] for line in sorted(fake.runs[given["name"]].lines)]
            return {"project": {"run": {"history": lines[: given["samples"]]}}}
        return None

    def _matches(self, run_id: str, wanted: dict[str, Any]) -> bool:
        values = {"name": run_id, "group": self.server.fake.runs[run_id].fields.get("groupName")}
        return all(values[key] == value for key, value in wanted.items())

    def _node(self, run_id: str) -> dict[str, Any]:
        run = self.server.fake.runs[run_id]
        fields = run.fields
        return {
            "id": f"bucket:{run_id}",
            "name": run_id,
            "displayName": fields.get("displayName"),
            "projectId": "7",
            "tags": fields.get("tags") or [],
            "state": "finished",
            "config": json.dumps(run.config),
            "group": fields.get("groupName"),
            "jobType": fields.get("jobType"),
            "sweepName": None,
            "commit": None,
            "readOnly": False,
            "createdAt": "2026-01-01T00:00:00Z",
            "heartbeatAt": "2026-01-01T00:00:00Z",
            "description": "",
            "notes": "",
            "systemMetrics": "{}",
            "summaryMetrics": json.dumps(run.summary),
            "historyLineCount": len(run.lines),
            "historyKeys": None,
            "user": {"name": "s", "username": "someone"},
        }

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
        return None

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
            "config": json.dumps(run.config),
            "tags": run.fields.get("tags") or [],
            "notes": None,
            "wandbConfig": json.dumps({"t": {}}),  # by which the client knows that the run has started
        }
