"""Make written_before.tar.gz and written_before.json: what the commit before the houses (9ad1ebe) writes.

Run it only with a checkout of that commit, in its environment, from its folder:

    git worktree add ../before 9ad1ebe && cd ../before    # and install it there
    python <here>/tnt_platform_tests/compat/make_fixture.py <here>/tnt_platform_tests/compat

It runs that commit's `tnt` commands, so that versions, a tag and a rollback are made the way users make them. The
archive holds `dagster.yaml`, `.tnt` (lake, Dagster's home, locks), `defs` and `raw`, and can be unpacked anywhere. Raw
files come from an S3 server: its etags are hashes of the content, whereas those of a folder contain an inode, which no
archive keeps. The JSON file lists what today's code must read. Version ids and times differ on every run, so commit
both files together.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

BUCKET = "raw"
DAYS = ("2026-01-12", "2026-01-13")
HELD_BECAUSE = "the source showed a post too many"
TAG = "as-first-published"
BRENT = "Date,Price\n2026-01-15,63.5\n2026-02-15,64.25\n2026-03-15,66\n"
BRENT_REVISED = "Date,Price\n2026-01-15,63.5\n2026-02-15,64.75\n2026-03-15,66\n2026-04-15,61.125\n"
POSTS = [{"userId": n // 3, "id": n, "title": f"post {n}", "body": "first\nsecond"} for n in range(1, 7)]
# The last has no days.
TRANSIT_ROWS = ("10001|NY|3", "75001|TX|3", "90001|CA")
DELIVERY_COLUMNS = (
    "ID,Project Code,Country,Managed By,Fulfill Via,Vendor INCO Term,Shipment Mode,PQ First Sent to Client Date,"
    "PO Sent to Vendor Date,Scheduled Delivery Date,Delivered to Client Date,Delivery Recorded Date,Product Group,"
    "Vendor,Item Description,Line Item Quantity,Line Item Value,First Line Designation,Weight (Kilograms),"
    "Freight Cost (USD),Line Item Insurance (USD)"
)


def deliveries(first: int, *, faulty: bool) -> str:
    """Write five deliveries as CSV; add two rows that can't be published if `faulty`."""
    wrong = {first + 5: ("31-Feb-13", "30"), first + 6: ("9-Jun-13", "many")} if faulty else {}
    lines = [DELIVERY_COLUMNS]
    for number in range(first, first + 5 + len(wrong)):
        delivered, quantity = wrong.get(number, (f"{number % 20 + 2}-Jun-13", "30"))
        lines.append(
            f"{number},100-CI-T01,Côte d'Ivoire,PMO - US,Direct Drop,EXW,{('Air', 'N/A')[number % 2]},Pre-PQ Process,"
            f'8/1/13,{number % 20 + 1}-Jun-13,{delivered},{number % 20 + 3}-Jun-13,ARV,"A ""B"", Ltd.","Tablets, 30",'
            f"{quantity},551.5,Yes,Weight Captured Separately,780.34,12.25"
        )
    return "\n".join(lines) + "\n"


def raw_files() -> dict[str, str]:
    """Return the raw files of deliveries and the daily report by key."""
    return {
        f"deliveries/{DAYS[0]}/history.csv": deliveries(1, faulty=True),
        f"deliveries/{DAYS[1]}/history.csv": deliveries(101, faulty=False),
        f"raw-data/{DAYS[0]}/orders.csv": 'order_id,totale_casi,note\n1,10,"two\nlines"\n2,5,\n',
        f"raw-data/{DAYS[0]}/events.jsonl": '{"event": "open"}\n{"event": "close"}\n',
        f"raw-data/{DAYS[1]}/orders.csv": "order_id,totale_casi,note\n3,7,late\n",
    }


def content(snapshot: Any) -> dict[str, Any]:
    """Describe what a version holds, whatever the order of its rows."""
    rows = snapshot.scan().collect()
    refused = snapshot.quarantine()
    lines = sorted(repr(row) for row in rows.select(sorted(rows.columns)).iter_rows())
    marks = ("partition", "file_key", "line_no", "reason_code")
    return {
        "version": snapshot.version,
        "rows": rows.height,
        "columns": {name: str(dtype) for name, dtype in sorted(rows.schema.items())},
        "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
        "quarantine": sorted([list(row) for row in refused.select(marks).iter_rows()], key=repr),
    }


def main(folder: Path) -> None:
    """Write both files into `folder`."""
    sys.path.insert(0, str(Path.cwd()))
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        expected = fill(home, stack)
        expected["defs"] = sorted(path.parent.name for path in (home / "defs").glob("*/defs.yaml"))
        archive(home, folder / "written_before.tar.gz")
    text = json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / "written_before.json").write_text(text + "\n", encoding="utf-8")


def fill(home: Path, stack: ExitStack) -> dict[str, Any]:
    """Publish everything below `home` and return what today's code must read there."""
    from tnt_platform.sandbox.downloads import running_downloads
    from tnt_platform.sandbox.reference import reference_csv, shipper
    from tnt_platform.sandbox.running import running_rate_api
    from tnt_platform_tests.s3_server import S3Server

    code = Path.cwd()
    shutil.copy(code / "dagster.yaml", home)
    shutil.copytree(code / "tnt_platform" / "defs", home / "defs")
    s3 = S3Server(buckets=[BUCKET]).start()
    stack.callback(s3.stop)
    for key, text in raw_files().items():
        s3.put(key, text.encode())
    sender = shipper(0, 0)
    s3.put("config/dest.csv", reference_csv(range(1), 0))
    s3.put(
        f"transit/{DAYS[0]}/{sender.shipper_id}.txt",
        "".join(f"{sender.postal_code}|{row}\n" for row in TRANSIT_ROWS).encode(),
    )
    api = stack.enter_context(running_rate_api())
    served = home / "served"
    served.mkdir()
    sources = stack.enter_context(running_downloads(served))
    variables = {
        "DAGSTER_HOME": str(home),
        "TNT_HOME": str(home / ".tnt"),
        "TNT_RAW_URL": f"s3://{BUCKET}",
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret",
        "TNT_RATE_API_URL": api.url,
        "TNT_RATE_API_CLIENT": "test",
        "TNT_RATE_API_TOKEN": "secret",
        "TNT_BRENT_URL": f"{sources.url}/brent.csv",
        "TNT_POSTS_URL": f"{sources.url}/posts.json",
    }
    os.environ.update(variables)
    publish(home, served)
    for key, stored in s3.bucket.objects.items():
        path = home / "raw" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stored.data)
        # When a file was uploaded is part of what it is compared by.
        os.utime(path, (stored.last_modified.timestamp(),) * 2)
    shutil.rmtree(served)
    return recorded(home)


def publish(home: Path, served: Path) -> None:
    """Run every dataset twice or for two dates, then tag one version and roll another back.

    Two runs stay in the Dagster home of the archive; the others are recorded where nobody keeps them, to keep it small.
    """
    unkept = home / "unkept"
    unkept.mkdir()
    shutil.copy(home / "dagster.yaml", unkept)
    (served / "brent.csv").write_text(BRENT, encoding="utf-8")
    (served / "posts.json").write_text(json.dumps(POSTS), encoding="utf-8")
    tnt(unkept, "run", "deliveries", "--from", DAYS[0], "--to", DAYS[1])
    tnt(unkept, "run", "transit", "--date", DAYS[0])
    tnt(unkept, "run", "daily_report", "--from", DAYS[0], "--to", DAYS[1])
    tnt(unkept, "run", "brent_oil")
    tnt(home, "run", "posts")
    # An item without a usable id: the capture is refused whole.
    (served / "posts.json").write_text(json.dumps([*POSTS, {"id": None, "title": "x"}]), encoding="utf-8")
    tnt(unkept, "run", "posts")
    (served / "brent.csv").write_text(BRENT_REVISED, encoding="utf-8")
    changed = [{**POSTS[0], "title": "post 1, corrected"}, *POSTS[1:], {**POSTS[0], "id": 8}]
    (served / "posts.json").write_text(json.dumps(changed), encoding="utf-8")
    tnt(home, "run", "brent_oil")
    tnt(unkept, "run", "posts")
    tnt(home, "tag", "brent_oil", oldest("brent_oil"), TAG)
    tnt(home, "rollback", "posts", oldest("posts"), "--reason", HELD_BECAUSE)


def tnt(home: Path, *arguments: str) -> None:
    """Run one command of the platform, with Dagster's storage below `home`."""
    print("tnt", *arguments)
    subprocess.run(
        [sys.executable, "-m", "tnt_platform", *arguments],
        cwd=home,
        env={**os.environ, "DAGSTER_HOME": str(home)},
        check=True,
    )


def store() -> Any:
    """Open the lake with the old code."""
    platform = importlib.import_module("tnt_platform.components.platform")
    return platform.open_place(platform.Settings.from_environment()).store


def oldest(dataset: str) -> str:
    """Return the id of the dataset's first version."""
    return str(store().versions(dataset)["version"].min())


def recorded(home: Path) -> dict[str, Any]:
    """Read every version and run with the old code: what today's code must find."""
    import dagster as dg

    found = store()
    datasets = {}
    for name in found.datasets():
        versions = found.versions(name)["version"].to_list()
        datasets[name] = {
            "current": found.current(name).version,
            "held_because": found.current(name).manifest.held_because,
            "tags": found.tags(name),
            "versions": [content(found.snapshot(name, version)) for version in versions],
        }
    os.chdir(home)  # its storage is a path relative to the folder it is started in
    with dg.DagsterInstance.get() as instance:
        runs = {run.run_id: [run.job_name, run.status.value] for run in instance.get_runs()}
    return {"datasets": datasets, "runs": runs}


def archive(home: Path, path: Path) -> None:
    """Pack what was written, without scratch files and logs."""
    left_out = {"scratch", "compute_logs", "__pycache__"}

    def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return None if left_out & set(Path(member.name).parts) else member

    with gzip.GzipFile(path, "wb", 9, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("dagster.yaml", "defs", "raw", ".tnt"):
            tar.add(home / name, name, filter=kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
