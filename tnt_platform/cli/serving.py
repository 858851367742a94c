"""Commands that start servers: the web UI with its daemon, and the stand-in for the outside world."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from tnt_platform.cli.tables import console
from tnt_platform.settings import Settings

STOP_TIMEOUT_S = 15
DEV_NOTE = "dev.pid"


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the web UI.")
@click.option("--api-port", default=8800, show_default=True, help="Port of the dashboard and REST API.")
@click.option("--sandbox-port", default=8900, show_default=True, help="Port of the stand-in rate API.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--real-sources", is_flag=True, help="Series from their publishers instead of the samples.")
def dev(port: int, api_port: int, sandbox_port: int, host: str, real_sources: bool) -> None:
    """Start the web UI, the daemon (sensors run), the dashboard and, unless their URLs are set, stand-in APIs."""
    settings = Settings.from_environment()
    # A supervisor's SIGTERM takes everything down too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with contextlib.ExitStack() as started:
        environment: dict[str, str] = {}
        if not real_sources:
            environment |= started.enter_context(sample_sources())
            environment |= started.enter_context(sample_records())
        if not settings.environment.get("TNT_DIRECTORY_URL"):
            environment |= started.enter_context(sample_directory())
        if not settings.environment.get("TNT_RATE_API_URL"):
            from tnt_platform.sandbox.running import rate_api_process

            api = started.enter_context(rate_api_process("--port", str(sandbox_port), "--latency-ms", "20"))
            environment |= sandbox_environment(api.url)
        if not settings.environment.get("TNT_DAGSTER_URL"):
            environment["TNT_DAGSTER_URL"] = f"http://{host}:{port}"
        _say_where(settings, f"http://{host}:{port}", environment.get("TNT_RATE_API_URL"))
        console.print(f"Dashboard   http://{host}:{api_port}")
        command = [sys.executable, "-m", "dagster", "dev", "--host", host, "--port", str(port), *workspace()]
        settings.home.mkdir(parents=True, exist_ok=True)
        api_command = [sys.executable, "-m", "tnt_platform", "serve", "--host", host, "--port", str(api_port)]
        started.enter_context(process_group(api_command, environment, log=settings.home / "serve.log"))
        with _noted(settings), process_group(command, environment) as process:
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
            console.print("stopping ...")


@contextlib.contextmanager
def _noted(settings: Settings) -> Iterator[None]:
    """Leave word that this process runs the daemon: two daemons on one instance would ask for runs twice."""
    note = settings.home / DEV_NOTE
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(str(os.getpid()))
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def dev_is_running(settings: Settings) -> bool:
    """Whether a `tnt dev` of this home is alive (heartbeats outlive their daemon, so they can't tell)."""
    try:
        os.kill(int((settings.home / DEV_NOTE).read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def _say_where(settings: Settings, ui: str, sandbox_url: str | None) -> None:
    console.print(f"Web UI      {ui}")
    console.print(f"Rate API    {sandbox_url or settings.environment.get('TNT_RATE_API_URL')}")
    console.print(f"Drop files  {settings.raw_url}/transit/YYYY-MM-DD/<shipper_id>.txt")
    console.print(f"            {settings.raw_url}/deliveries/<any name>.csv")
    console.print("Series      samples of five publishers (--real-sources asks the publishers)")
    console.print(f"Published   {settings.lake_url}/datasets")
    console.print("The sensors look every 30 s. Stop with Ctrl-C.")


@click.command()
@click.option("--port", default=8900, show_default=True)
@click.option("--latency-ms", default=20.0, show_default=True)
@click.option("--faults", default="{}", help='JSON, such as \'{"error_rate": 0.1, "throttle_rate": 0.05}\'.')
def sandbox(port: int, latency_ms: float, faults: str) -> None:
    """Serve the stand-in carrier rate API until Ctrl-C."""
    from tnt_platform.sandbox.running import rate_api_process

    arguments = ("--port", str(port), "--latency-ms", str(latency_ms), "--faults", faults)
    with rate_api_process(*arguments) as api, contextlib.suppress(KeyboardInterrupt):
        console.print(f"Rate API at {api.url}; use it with:")
        for name, value in sandbox_environment(api.url).items():
            console.print(f"  export {name}={value}")
        signal.pause()


def sandbox_environment(url: str) -> dict[str, str]:
    """The variables by which a run finds the stand-in; its token is no secret."""
    return {"TNT_RATE_API_URL": url, "TNT_RATE_API_CLIENT": "sandbox", "TNT_RATE_API_TOKEN": "sandbox"}


SAMPLE_FILES = {
    "TNT_BCRA_SERIES_URL": "series.xlsm",
    "TNT_INDEC_IPC_URL": "sh_ipc_11_26.xls",
    "TNT_BRENT_URL": "brent-monthly.csv",
    "TNT_FX_MONTHLY_URL": "fx-monthly.csv",
    "TNT_WORLD_BANK_URL": "world-bank-inflation.json",
}


@contextlib.contextmanager
def sample_sources() -> Iterator[dict[str, str]]:
    """Serve the sample files of series; the variables by which their datasets find them, unless they are set."""
    from tnt_platform.sandbox.downloads import running_downloads
    from tnt_platform.sandbox.series_samples import SAMPLES

    with running_downloads(SAMPLES) as server:
        yield {
            name: f"{server.url}/{file}" for name, file in SAMPLE_FILES.items() if not os.environ.get(name)
        }


@contextlib.contextmanager
def sample_records() -> Iterator[dict[str, str]]:
    """Serve made-up posts and people; the variables by which their datasets find them, unless they are set."""
    from tnt_platform.sandbox.records_api import POSTS, USERS, running_records_api

    with running_records_api() as (url, _):
        found = {"TNT_POSTS_URL": f"{url}{POSTS}", "TNT_USERS_URL": f"{url}{USERS}?results=10"}
        yield {name: address for name, address in found.items() if not os.environ.get(name)}


@contextlib.contextmanager
def sample_directory() -> Iterator[dict[str, str]]:
    """Serve a made-up mall; the variables by which its dataset finds it."""
    from tnt_platform.sandbox.directory_api import APP_CODE, DirectoryApi, running_directory
    from tnt_platform.sandbox.directory_records import sample_mall

    with running_directory(DirectoryApi(sample_mall())) as server:
        yield {"TNT_DIRECTORY_URL": server.url, "TNT_DIRECTORY_APP_CODE": APP_CODE}


def workspace() -> list[str]:
    """The workspace argument for Dagster's commands."""
    return ["-w", str(Path(os.environ["DAGSTER_HOME"]) / "workspace.yaml")]


@contextlib.contextmanager
def process_group(
    command: list[str], environment: Mapping[str, str], *, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` with everything it starts, and take all of it down at the end.

    A Dagster code server may outlive the daemon that started it by more than a minute; killing the
    group does not.
    """
    with contextlib.ExitStack() as opened:
        output = opened.enter_context(log.open("ab")) if log else None
        process = subprocess.Popen(  # noqa: S603  (our own commands)
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for sign, wait_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, STOP_TIMEOUT_S)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait_s)
    # Children that ignored the first signal are gone with the second.
