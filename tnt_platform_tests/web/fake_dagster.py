"""What a web server of Dagster answers, recorded and made hostile, and all it may do instead of answering."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tnt_platform_tests.web.scene import HOSTILE

RUN = "4191d2f0-46c4-41a7-8dde-de5c38fa394d"
OTHER_RUN = "3dcd498a-107c-459a-ae9e-5a3023bf0ac2"
AT = 1795262092.9
_RUNS = [
    {
        "runId": OTHER_RUN,
        "jobName": "__ASSET_JOB",
        "creationTime": AT,
        "endTime": AT + 1,
        "tags": [
            {"key": "dagster/asset_partition_range_start", "value": "2026-11-01"},
            {"key": "dagster/asset_partition_range_end", "value": "2026-11-05"},
        ],
        "assetSelection": [{"path": ["transit", "results"]}, {"path": ["transit", "daily_summary"]}],
        "assetSelectionCount": 5,
    },
    {
        "runId": RUN,
        "jobName": "posts_job",
        "creationTime": AT - 3600,
        "endTime": None,
        "tags": [],
        "assetSelection": None,
        "assetSelectionCount": 0,
    },
]
_FAILURE = {"className": "Failure", "causes": [{"className": "ValueError", "message": "ValueError: inner\n"}]}
_WRAPPED = {
    "className": "DagsterExecutionStepExecutionError",
    "message": 'dagster._core.errors.DagsterExecutionStepExecutionError: Error occurred while executing op "x":\n',
    "causes": [
        {"className": "RuntimeError", "message": f"RuntimeError: boom\n{HOSTILE}\n" + "far too long " * 60}
    ],
}
_EVENTS = {
    OTHER_RUN: [
        {},
        {
            "stepKey": "transit",
            "error": {**_FAILURE, "message": "dagster.Failure: transit: 2 of 5 dates failed\n"},
        },
        {"message": "Execution of run failed.", "error": None},
    ],
    RUN: [{"assetKey": {"path": ["posts", "capture"]}}, {"stepKey": "posts", "error": _WRAPPED}],
}


def _check(name: str, status: str, evaluation: dict[str, Any] | None) -> dict[str, Any]:
    done = {"status": status, "timestamp": AT, "runId": RUN, "partition": None, "evaluation": evaluation}
    return {"name": name, "blocking": True, "executionForLatestMaterialization": done}


def _node(path: list[str], freshness: str | None, *checks: dict[str, Any]) -> dict[str, Any]:
    metadata = {"lastMaterializedTimestamp": AT}
    return {
        "assetKey": {"path": path},
        "freshnessStatusInfo": freshness
        and {"freshnessStatus": freshness, "freshnessStatusMetadata": metadata},
        "internalFreshnessPolicy": {"__typename": "TimeWindowFreshnessPolicy", "failWindowSeconds": 172800.0},
        "assetChecksOrError": {"__typename": "AssetChecks", "checks": list(checks)},
    }


_NODES = [
    _node(["transit", "results"], "HEALTHY", _check("unique_keys", "SUCCEEDED", None)),
    _node(
        ["posts"],
        None,
        _check("captures_accepted", "FAILED", {"severity": "WARN", "description": f"was refused {HOSTILE}"}),
        _check("items_conserved", "EXECUTION_FAILED", None),
        {"name": "never_run", "blocking": False, "executionForLatestMaterialization": None},
    ),
    _node(["daily_report", "files"], "DEGRADED"),
    _node(["prices"], "WARNING"),
    _node(["mall", "tenants"], "UNKNOWN"),
]


def recorded(query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The answer to one of the questions that the dashboard asks."""
    if "assetNodes" in query:
        return {"data": {"assetNodes": _NODES}}
    if "eventConnection" in query:
        runs = [{"runId": run, "eventConnection": {"events": _EVENTS[run]}} for run in variables["runs"]]
        return {"data": {"runsOrError": {"__typename": "Runs", "results": runs}}}
    return {"data": {"runsOrError": {"__typename": "Runs", "results": _RUNS}}}


@dataclass
class FakeDagster:
    """One server. `body` and `status` replace the answer; it comes in pieces, `pause_s` apart.

    `assets` and `stories` replace the answers about assets and about the logs of runs.
    """

    url: str = ""
    body: bytes | None = None
    status: int = 200
    pause_s: float = 0.0
    pause_before_assets_s: float = 0.0
    assets: dict[str, Any] | None = None
    stories: dict[str, Any] | None = None
    queries: list[str] = field(default_factory=list)

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """What a test ordered, or what was recorded."""
        if "assetNodes" in query:
            time.sleep(self.pause_before_assets_s)
            return self.assets or recorded(query, variables)
        if "eventConnection" in query:
            return self.stories or recorded(query, variables)
        return recorded(query, variables)


@contextmanager
def fake_dagster() -> Iterator[FakeDagster]:
    """A running server of recorded answers."""
    stand_in = FakeDagster()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            stand_in.queries.append(asked["query"])
            body = stand_in.body
            if body is None:
                body = json.dumps(stand_in.answer(asked["query"], asked["variables"])).encode()
            self.send_response(stand_in.status)
            self.send_header("location", "http://127.0.0.1:1/sign-in")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if not stand_in.pause_s:
                self.wfile.write(body)
                return
            for byte in body:
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                time.sleep(stand_in.pause_s)

        def log_message(self, *_: object) -> None:
            """Tests say enough."""

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # who asked went away

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stand_in.url = f"http://127.0.0.1:{server.server_port}"
        yield stand_in
        server.shutdown()
