"""`tnt dev`, `tnt serve` and `tnt sandbox`: start the servers of the platform and emulators of its sources."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import click

from tnt_platform.cli.tables import console
from tnt_platform.errors import ConfigError
from tnt_platform.settings import Settings

STOP_TIMEOUT_S = 15
DEV_PID_FILE = "dev.pid"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
DEFAULT_DAGSTER_URL = "http://127.0.0.1:3000"


@click.command()
@click.option("--port", default=3000, show_default=True, help="Port of the web UI.")
@click.option("--api-port", default=8800, show_default=True, help="Port of the dashboard and REST API.")
@click.option("--sandbox-port", default=8900, show_default=True, help="Port of the emulated rate API.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--real-sources", is_flag=True, help="Use the real sources of series and records instead of samples."
)
def dev(port: int, api_port: int, sandbox_port: int, host: str, real_sources: bool) -> None:
    """Start the web UI, the daemon with its sensors, and the dashboard; emulate the APIs whose URLs are not set."""
    settings = Settings.from_environment()
    # Stop everything on a supervisor's SIGTERM too, as on Ctrl-C.
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
        _print_addresses(settings, f"http://{host}:{port}", environment.get("TNT_RATE_API_URL"))
        console.print(f"Dashboard   http://{host}:{api_port}")
        command = [sys.executable, "-m", "dagster", "dev", "--host", host, "--port", str(port), *workspace()]
        settings.home.mkdir(parents=True, exist_ok=True)
        api_command = [sys.executable, "-m", "tnt_platform", "serve", "--host", host, "--port", str(api_port)]
        started.enter_context(process_group(api_command, environment, log=settings.home / "serve.log"))
        with _pid_file(settings), process_group(command, environment) as process:
            with contextlib.suppress(KeyboardInterrupt):
                process.wait()
            console.print("stopping ...")


@contextlib.contextmanager
def _pid_file(settings: Settings) -> Iterator[None]:
    """Record that this process runs the daemon: two daemons on one instance would request every run twice."""
    path = settings.home / DEV_PID_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def dev_is_running(settings: Settings) -> bool:
    """Whether a `tnt dev` of this home is running; heartbeats can't tell, since they outlive their daemon."""
    try:
        os.kill(int((settings.home / DEV_PID_FILE).read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def _print_addresses(settings: Settings, ui: str, sandbox_url: str | None) -> None:
    console.print(f"Web UI      {ui}")
    console.print(f"Rate API    {sandbox_url or settings.environment.get('TNT_RATE_API_URL')}")
    console.print(f"Drop files  {settings.raw_url}/transit/YYYY-MM-DD/<shipper_id>.txt")
    console.print(f"            {settings.raw_url}/deliveries/<any name>.csv")
    console.print("Series      samples of five publishers (--real-sources uses the publishers)")
    console.print(f"Published   {settings.lake_url}/datasets")
    console.print("The sensors check every 30 s. Stop with Ctrl-C.")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8800, show_default=True)
def serve(host: str, port: int) -> None:
    """Serve the REST API and the dashboard over the published data until Ctrl-C."""
    from tnt_platform.web.app import create_app
    from tnt_platform.web.server import allow_many_connections, listening_socket, log_to_stdout, server_of

    settings = with_local_dagster(Settings.from_environment(), host)
    app = create_app(settings, readiness_checks(settings))
    try:
        listener = listening_socket(host, port)
    except OSError as error:
        raise ConfigError(
            f"can't listen on {host}:{port} ({error.strerror}); choose another port with --port"
        ) from error
    allow_many_connections()
    log_to_stdout()
    console.print(f"Dashboard  http://{host}:{listener.getsockname()[1]}/")
    console.print(f"API        http://{host}:{listener.getsockname()[1]}/docs")
    server_of(app).run(sockets=[listener])


def with_local_dagster(settings: Settings, host: str) -> Settings:
    """Default TNT_DAGSTER_URL to where `tnt dev` starts Dagster, if only this machine is served."""
    if host not in LOOPBACK or "TNT_DAGSTER_URL" in settings.environment:
        return settings
    return replace(settings, environment={**settings.environment, "TNT_DAGSTER_URL": DEFAULT_DAGSTER_URL})


def readiness_checks(settings: Settings) -> dict[str, Callable[[], str]]:
    """Return what `/health/ready` checks besides the lake: only what is configured."""
    checks: dict[str, Callable[[], str]] = {"configuration": lambda: _check_configuration(settings)}
    queue_url = settings.event_queue_url
    if queue_url is not None:
        checks["queue"] = lambda: _check_queue(settings, queue_url)
    if settings.environment.get("DATABASE_URL"):
        checks["database"] = lambda: _check_database(settings)
    return checks


def _check_configuration(settings: Settings) -> str:
    from tnt_platform.storage.objects import Objects

    Objects.open(settings.raw_url, options=settings.s3_options())
    return f"lake {settings.lake_url}, raw files {settings.raw_url}"


def _check_queue(settings: Settings, url: str) -> str:
    from tnt_platform.services.queue import EventQueue, sqs_client

    return str(EventQueue(url, sqs_client(settings.aws_options("sqs"))).depth())


def _check_database(settings: Settings) -> str:
    from sqlalchemy import text

    from tnt_platform.services.postgres import open_database

    url, folder = settings.environment["DATABASE_URL"], settings.home
    with (
        open_database(url, folder=folder, application_name="tnt-serve") as database,
        database.transaction() as connection,
    ):
        connection.execute(text("SELECT 1"))
    return "OK"


@click.command()
@click.option("--port", default=8900, show_default=True)
@click.option("--latency-ms", default=20.0, show_default=True)
@click.option("--faults", default="{}", help='JSON, such as \'{"error_rate": 0.1, "throttle_rate": 0.05}\'.')
def sandbox(port: int, latency_ms: float, faults: str) -> None:
    """Emulate the carrier's rate API until Ctrl-C."""
    from tnt_platform.sandbox.running import rate_api_process

    arguments = ("--port", str(port), "--latency-ms", str(latency_ms), "--faults", faults)
    with rate_api_process(*arguments) as api, contextlib.suppress(KeyboardInterrupt):
        console.print(f"Rate API at {api.url}; use it with:")
        for name, value in sandbox_environment(api.url).items():
            console.print(f"  export {name}={value}")
        signal.pause()


def sandbox_environment(url: str) -> dict[str, str]:
    """Return the variables that point runs to the emulated rate API; its token is not a secret."""
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
    """Serve sample files of series; yield the variables that point the datasets there, unless they are set."""
    from tnt_platform.sandbox.downloads import running_downloads
    from tnt_platform.sandbox.series_samples import SAMPLES

    with running_downloads(SAMPLES) as server:
        yield {
            name: f"{server.url}/{file}" for name, file in SAMPLE_FILES.items() if not os.environ.get(name)
        }


@contextlib.contextmanager
def sample_records() -> Iterator[dict[str, str]]:
    """Serve generated posts and users; yield the variables that point the datasets there, unless they are set."""
    from tnt_platform.sandbox.records_api import POSTS, USERS, running_records_api

    with running_records_api() as (url, _):
        urls = {"TNT_POSTS_URL": f"{url}{POSTS}", "TNT_USERS_URL": f"{url}{USERS}?results=10"}
        yield {name: url for name, url in urls.items() if not os.environ.get(name)}


@contextlib.contextmanager
def sample_directory() -> Iterator[dict[str, str]]:
    """Serve a generated mall directory; yield the variables that point the dataset there."""
    from tnt_platform.sandbox.directory_api import APP_CODE, DirectoryApi, running_directory
    from tnt_platform.sandbox.directory_records import sample_mall

    with running_directory(DirectoryApi(sample_mall())) as server:
        yield {"TNT_DIRECTORY_URL": server.url, "TNT_DIRECTORY_APP_CODE": APP_CODE}


def workspace() -> list[str]:
    """Return the workspace argument of Dagster's commands."""
    return ["-w", str(Path(os.environ["DAGSTER_HOME"]) / "workspace.yaml")]


@contextlib.contextmanager
def process_group(
    command: list[str], environment: Mapping[str, str], *, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command`, and stop it with everything it started at the end.

    The whole group is stopped because a Dagster code server may outlive its daemon by more than a minute.
    """
    with contextlib.ExitStack() as opened:
        output = opened.enter_context(log.open("ab")) if log else None
        process = subprocess.Popen(  # noqa: S603  (the platform's own commands)
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
    # SIGKILL also ends children that ignored SIGTERM.
