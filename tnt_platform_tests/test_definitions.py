"""What Dagster is given: everything that has a name, and that loading it touches nothing outside."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox

import tnt_platform
from tnt_platform.kinds import DEFS
from tnt_platform.orchestration.platform import Platform
from tnt_platform.transit.component import TransitDataset
from tnt_platform_tests.validation.dataset_files import DATES

GOLDEN = Path(__file__).parent / "golden" / "definitions.txt"
REWRITE = "TNT_REWRITE_GOLDEN"
MOST_SECONDS = 10


@cache
def definitions() -> dg.Definitions:
    from tnt_platform.definitions import defs

    return defs()


@cache
def nodes() -> list[dg.AssetSpec]:
    return sorted(definitions().resolve_all_asset_specs(), key=lambda spec: spec.key)


def described() -> str:
    """All names of the definitions as text, one fact a line."""
    repository = definitions().get_repository_def()
    lines = []
    for spec in nodes():
        lines += [f"asset {spec.key.to_user_string()}", *(f"  {fact}" for fact in _facts(spec))]
        compute = repository.assets_defs_by_key[spec.key].op.tags
        lines += [f"  {tag}: {value}" for tag, value in sorted(compute.items()) if tag.startswith("ecs/")]
        checks = repository.asset_graph.get_check_keys_for_assets({spec.key})
        for key in sorted(checks, key=lambda key: key.name):
            blocking = repository.asset_graph.get(key).blocking
            lines.append(f"  check: {key.name}{' (blocking)' if blocking else ''}")
    for sensor in sorted(repository.sensor_defs, key=lambda sensor: sensor.name):
        lines.append(
            f"sensor {sensor.name} every {sensor.minimum_interval_seconds} s, {sensor.default_status.value}"
        )
        lines.append(f"  targets: {_keys(sensor.asset_selection, repository)}")
    for schedule in sorted(repository.schedule_defs, key=lambda schedule: schedule.name):
        lines.append(
            f"schedule {schedule.name} at {schedule.cron_schedule}, {schedule.default_status.value}, "
            f"job {schedule.job_name}"
        )
    jobs = sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__"))
    lines += [f"job {name}" for name in jobs]
    lines += [f"resource {name}" for name in sorted(definitions().resources or {})]
    return "\n".join(lines) + "\n"


def _facts(spec: dg.AssetSpec) -> list[str]:
    return [
        f"group: {spec.group_name}",
        f"owners: {', '.join(spec.owners)}",
        f"kinds: {', '.join(sorted(spec.kinds))}",
        f"deps: {', '.join(sorted(dep.asset_key.to_user_string() for dep in spec.deps)) or 'none'}",
        f"partitions: {_partitions(spec.partitions_def)}",
    ]


def _partitions(partitions: dg.PartitionsDefinition | None) -> str:
    if partitions is None:
        return "none"
    assert isinstance(partitions, dg.DailyPartitionsDefinition)
    return f"daily from {partitions.start.strftime(partitions.fmt)}, end offset {partitions.end_offset}"


def _keys(selection: dg.AssetSelection | None, repository: dg.RepositoryDefinition) -> str:
    assert selection is not None
    return ", ".join(sorted(key.to_user_string() for key in selection.resolve(repository.asset_graph)))


def test_the_definitions_are_those_of_the_golden_file() -> None:
    """A renamed asset loses its history, a lost check its protection: changing this file is a decision."""
    if os.environ.get(REWRITE):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(described(), encoding="utf-8")
    assert described() == GOLDEN.read_text(encoding="utf-8"), (
        f"if this is meant: {REWRITE}=1 pytest {Path(__file__).name}"
    )


def test_every_folder_below_defs_is_a_group_of_assets() -> None:
    assert {spec.group_name for spec in nodes()} == {path.parent.name for path in DEFS.glob("*/defs.yaml")}


@pytest.mark.parametrize("fact", ["owners", "description", "group_name", "kinds", "metadata"])
def test_every_asset_says(fact: str) -> None:
    assert [spec.key for spec in nodes() if not getattr(spec, fact)] == []


def test_every_asset_has_tags_of_its_own_besides_its_kinds() -> None:
    assert [spec.key for spec in nodes() if all(tag.startswith("dagster/") for tag in spec.tags)] == []


def test_every_asset_has_a_blocking_check_that_no_row_vanished() -> None:
    graph = definitions().get_repository_def().asset_graph
    for spec in nodes():
        key = dg.AssetCheckKey(spec.key, "rows_conserved")
        assert key in graph.asset_check_keys
        assert graph.get(key).blocking


def test_assets_of_files_by_date_are_reached_by_a_sensor_and_all_assets_by_a_schedule() -> None:
    repository = definitions().get_repository_def()
    every = {spec.key for spec in nodes()}
    by_date = {spec.key for spec in nodes() if spec.partitions_def is not None}
    assert _reached([sensor.asset_selection for sensor in repository.sensor_defs], repository) == by_date
    jobs = [repository.get_job(schedule.job_name) for schedule in repository.schedule_defs]
    assert {key for job in jobs for key in job.asset_layer.selected_asset_keys} == every


def _reached(
    selections: list[dg.AssetSelection | None], repository: dg.RepositoryDefinition
) -> set[dg.AssetKey]:
    return {key for chosen in selections if chosen for key in chosen.resolve(repository.asset_graph)}


def test_a_dataset_is_one_folder_and_no_code() -> None:
    """A new folder's YAML becomes a whole group with its sensor, schedule and job."""
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(
            TransitDataset, defs_path="new_dataset", defs_yaml_contents=yaml.safe_load(DATES)
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, loaded):
            built = dg.Definitions.merge(loaded, dg.Definitions(resources={"platform": Platform()}))
            keys = {spec.key.to_user_string() for spec in built.resolve_all_asset_specs()}
            sensors = [sensor.name for sensor in built.sensors or []]
    steps = ("shipper_files", "shipments", "results", "daily_summary")
    assert keys == {f"new_dataset/{step}" for step in steps}
    assert sensors == ["new_dataset_files"]


# Runs in a process of its own: from here on our modules may touch nothing, and nobody may open a connection.
GUARD = """
import os, sys, threading
import boto3, botocore.session, obstore.store

ALWAYS = ("socket.connect", "socket.getaddrinfo")
OURS = ("open", "os.mkdir", "os.listdir", "os.scandir", "os.remove", "os.rename", "os.putenv", "subprocess.Popen")

def culprit():
    "The line of ours that asked, through the standard library at most; imports and other packages may ask."
    frame = sys._getframe(2)
    while frame:
        file = frame.f_code.co_filename
        if file.startswith("<frozen importlib") or "site-packages" in file:
            return None
        if "/tnt_platform/" in file:
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back

def watch(event, args):
    if event in ALWAYS or (event in OURS and (where := culprit())):
        raise AssertionError(f"{event} {args[:2]} at import, by {where if event in OURS else sys._getframe(1)}")

class Watched(type(os.environ)):
    def __getitem__(self, key):
        assert not (where := culprit()), f"environment variable {key} at import, by {where}"
        return super().__getitem__(key)

    def __iter__(self):
        assert not (where := culprit()), f"environment at import, by {where}"
        return super().__iter__()

started = threading.Thread.start
def start(thread):
    assert not (where := culprit()), f"a thread at import, by {where}"
    started(thread)

def refuse(*args, **kwargs):
    raise AssertionError(f"a client at import: {args}")

os.environ.__class__ = Watched
threading.Thread.start = start
boto3.client = boto3.resource = boto3.Session = botocore.session.Session.create_client = refuse
obstore.store.S3Store = obstore.store.LocalStore = obstore.store.from_url = refuse
sys.addaudithook(watch)
"""
OFFENCES = (
    "import os; os.environ['HOME']",
    "import os; os.environ.get('HOME')",
    "import os; os.getenv('HOME')",
    "import os; dict(os.environ)",
    "open('/etc/hostname')",
    "from pathlib import Path; Path('/etc/hostname').read_text()",
    "from pathlib import Path; Path('made').mkdir()",
    "from pathlib import Path; list(Path('.').iterdir())",
    "import socket; socket.create_connection(('127.0.0.1', 1))",
    "import subprocess; subprocess.run(['true'])",
    "import boto3; boto3.client('sqs')",
    "import obstore.store; obstore.store.LocalStore('/')",
    "import threading; threading.Thread(target=print).start()",
)


def modules() -> list[str]:
    found = pkgutil.walk_packages(tnt_platform.__path__, "tnt_platform.")
    # Migrations are scripts that Alembic runs, not modules that anything imports.
    run = ("__main__", ".migrations.env")
    names = [module.name for module in found if not module.name.endswith(run)]
    return sorted(name for name in names if ".migrations.versions." not in name)


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_importing_any_module_touches_neither_disk_nor_network_nor_environment(tmp_path: Path) -> None:
    assert len(modules()) > 50
    imports = f"import importlib\nfor name in {modules()!r}:\n    importlib.import_module(name)\nprint('all')"
    result = run(GUARD + imports, tmp_path)
    assert result.stdout == "all\n", result.stderr[-3000:]
    assert list(tmp_path.iterdir()) == []


def test_the_guard_notices_a_module_that_does(tmp_path: Path) -> None:
    code = f"""
for number, offence in enumerate({OFFENCES!r}):
    try:
        exec(compile(offence, f"/any/tnt_platform/offence_{{number}}.py", "exec"), {{}})
    except AssertionError:
        continue
    print("not noticed:", offence)
print("all")
"""
    result = run(GUARD + code, tmp_path)
    assert result.stdout == "all\n", result.stderr[-3000:]


def test_the_core_does_not_pull_in_dagster_or_cloud_clients(tmp_path: Path) -> None:
    """So that a reader or a transform can be used and tested in a second."""
    code = """
import sys
import tnt_platform.readers.delimited, tnt_platform.transit.transforms.requests, tnt_platform.transit.transforms.cases
print([name for name in ('dagster', 'boto3', 'obstore', 'aiohttp') if name in sys.modules])
"""
    assert run(code, tmp_path).stdout == "[]\n"


def test_the_definitions_load_in_seconds_without_a_variable_of_production(tmp_path: Path) -> None:
    """The runs resolve variables; a code location that loads without them can show what is missing."""
    code = """
import resource
from tnt_platform.definitions import defs
keys = defs().get_repository_def().asset_graph.get_all_asset_keys()
used = resource.getrusage(resource.RUSAGE_SELF)
print(len(keys), used.ru_utime + used.ru_stime)
"""
    result = run(code, tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assets, seconds = result.stdout.split()
    assert int(assets) == len(nodes())
    # Processor seconds: others may be busy on this machine while the test runs.
    assert float(seconds) < MOST_SECONDS
    assert list(tmp_path.iterdir()) == []
