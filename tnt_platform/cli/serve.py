"""`tnt serve`: the REST API and the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import click

from tnt_platform.cli.tables import console
from tnt_platform.errors import ConfigError
from tnt_platform.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
DAGSTER_OF_DEV = "http://127.0.0.1:3000"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8800, show_default=True)
def serve(host: str, port: int) -> None:
    """Serve the REST API and the dashboard over the published data until Ctrl-C."""
    from tnt_platform.web.app import create_app
    from tnt_platform.web.server import allow_many_connections, listening_socket, log_to_stdout, server_of

    settings = beside_dagster(Settings.from_environment(), host)
    app = create_app(settings, checks_of(settings))
    try:
        listener = listening_socket(host, port)
    except OSError as error:
        raise ConfigError(
            f"can't listen on {host}:{port} ({error.strerror}); choose another one with --port"
        ) from error
    allow_many_connections()
    log_to_stdout()
    console.print(f"Dashboard  http://{host}:{listener.getsockname()[1]}/")
    console.print(f"API        http://{host}:{listener.getsockname()[1]}/docs")
    server_of(app).run(sockets=[listener])


def beside_dagster(settings: Settings, host: str) -> Settings:
    """Served to this machine alone, Dagster is taken to be where `tnt dev` starts it, unless TNT_DAGSTER_URL is set."""
    if host not in LOOPBACK or "TNT_DAGSTER_URL" in settings.environment:
        return settings
    return replace(settings, environment={**settings.environment, "TNT_DAGSTER_URL": DAGSTER_OF_DEV})


def checks_of(settings: Settings) -> dict[str, Callable[[], str]]:
    """What `/health/ready` asks besides the lake: only what is configured."""
    checks: dict[str, Callable[[], str]] = {"configuration": lambda: _configuration(settings)}
    queue_url = settings.event_queue_url
    if queue_url is not None:
        checks["queue"] = lambda: _queue(settings, queue_url)
    if settings.environment.get("DATABASE_URL"):
        checks["database"] = lambda: _database(settings)
    return checks


def _configuration(settings: Settings) -> str:
    from tnt_platform.storage.objects import Objects

    Objects.open(settings.raw_url, options=settings.s3_options())
    return f"lake {settings.lake_url}, raw files {settings.raw_url}"


def _queue(settings: Settings, url: str) -> str:
    from tnt_platform.services.queue import EventQueue, sqs_client

    depth = EventQueue(url, sqs_client(settings.aws_options("sqs"))).depth()
    return f"{depth}"


def _database(settings: Settings) -> str:
    from sqlalchemy import text

    from tnt_platform.services.postgres import open_database

    with (
        open_database(
            settings.environment["DATABASE_URL"], folder=settings.home, application_name="tnt-serve"
        ) as database,
        database.transaction() as connection,
    ):
        connection.execute(text("SELECT 1"))
    return "it answers"
