"""Connect to PostgreSQL with a pool, and raise errors that say what to do and contain no secret."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tnt_platform.errors import ConfigError, PermanentError, Refused, TntError, Unavailable
from tnt_platform.services.postgres_server import EmbeddedServer

CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 120
IDLE_IN_TRANSACTION_TIMEOUT_S = 300
POOL_SIZE = 4
_DRIVER = "postgresql+psycopg2"
_SCHEMES = ("postgres", "postgresql", _DRIVER)
_SECRETS = ("password", "sslpassword", "passfile", "sslkey")

# SQLSTATE classes and codes after which the same call may succeed (appendix A of PostgreSQL's manual).
_RETRYABLE = ("08", "40", "53", "55P03", "57", "58")
_NO_ACCESS = ("28", "42501")
_NOT_SET_UP = ("3D", "3F", "42P01", "42703")
# psycopg2 has no SQLSTATE for a refused connection, only the server's message.
_REFUSED_WORDS = ("authentication failed", "pg_hba.conf", "no password supplied", "permission denied")
_NOT_THERE_WORDS = ("does not exist", "could not translate host name", "invalid connection option")


class Database:
    """One PostgreSQL database and a small pool of connections to it, for the threads of one process.

    Every connection has `application_name`, a statement timeout and TCP keepalives, and is tested before use, so that
    a dead one is replaced.
    """

    def __init__(
        self, url: str | URL, *, application_name: str, server: EmbeddedServer | None = None
    ) -> None:
        """Prepare the pool without connecting.

        Raises:
            ConfigError: `url` is not a PostgreSQL URL.
        """
        checked = _checked(url)
        # SQLAlchemy masks only the password, so other secrets are removed from the URL.
        secrets = {name: value for name, value in checked.query.items() if name in _SECRETS}
        self._url = checked.difference_update_query(_SECRETS)
        self._server = server
        settings = {
            "statement_timeout": STATEMENT_TIMEOUT_S * 1000,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_S * 1000,
        }
        given = self._url.query.get("options", "")
        options = " ".join(
            [
                *(f"-c {name}={value}" for name, value in settings.items()),
                given if isinstance(given, str) else " ".join(given),
            ]
        )
        self.engine: Engine = create_engine(
            self._url.difference_update_query(["options"]),
            pool_size=POOL_SIZE,
            max_overflow=POOL_SIZE,
            pool_pre_ping=True,
            pool_timeout=30,
            hide_parameters=True,
            connect_args={
                **secrets,
                "application_name": application_name,
                "connect_timeout": CONNECT_TIMEOUT_S,
                "client_encoding": "utf8",
                "keepalives_idle": 30,
                "keepalives_interval": 10,
                "keepalives_count": 3,
                "options": options,
            },
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yield a connection in a transaction, which is committed at the end and rolled back on any exception.

        Raises:
            Unavailable, Refused, ConfigError, PermanentError: see `translated_errors`.
        """
        with translated_errors(str(self)), self.engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close the pool, and leave the embedded server if it was used."""
        self.engine.dispose()
        if self._server is not None:
            self._server.leave()

    def __str__(self) -> str:
        """Return the URL without its secrets."""
        return self._url.render_as_string(hide_password=True)

    def __repr__(self) -> str:
        return f"Database({str(self)!r})"


@contextmanager
def open_database(url: str | None, *, folder: Path, application_name: str = "tnt") -> Iterator[Database]:
    """Open the database of `url` (`DATABASE_URL`), or of the embedded server in `folder` without one.

    Raises:
        ConfigError: `url` is not a PostgreSQL URL, or the embedded server can't run here.
        Unavailable: the embedded server does not start.
    """
    if url:
        database = Database(url, application_name=application_name)
    else:
        server = EmbeddedServer.join(folder)
        database = Database(server.url, application_name=application_name, server=server)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def translated_errors(where: str) -> Iterator[None]:
    """Translate the driver's errors; the message has the server's message and `where`.

    Raises:
        Unavailable: the connection was lost or refused, timed out, deadlocked, or the server is stopping or full.
        Refused: wrong password or missing privilege.
        ConfigError: no such host, database, table or column.
        PermanentError: anything else, such as a value that the server rejects.
    """
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable(
            f"{where}: all connections of the pool are in use; run fewer jobs at once"
        ) from error
    except DBAPIError as error:
        raise _translated(where, error.orig, lost=error.connection_invalidated) from error
    except psycopg2.Error as error:
        raise _translated(where, error, lost=False) from error


def _translated(where: str, error: BaseException | None, *, lost: bool) -> TntError:
    code = getattr(error, "pgcode", None) or ""
    words = (getattr(getattr(error, "diag", None), "message_primary", None) or str(error)).strip()
    what = f"{where}: {words}"
    if code.startswith(_NO_ACCESS):
        return Refused(f"{what}. Use a user of the role script (infra/postgres/roles.sql) and its password")
    if code.startswith(_NOT_SET_UP):
        return ConfigError(f"{what}. Check DATABASE_URL and run the migrations")
    if code.startswith(_RETRYABLE) or lost:
        return Unavailable(f"{what}. Run again")
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError) and not code:
        return _no_connection(what, words)
    return PermanentError(what)


def _no_connection(what: str, words: str) -> TntError:
    if any(refusal in words for refusal in _REFUSED_WORDS):
        return Refused(f"{what}. Check the user and password of DATABASE_URL")
    if any(absence in words for absence in _NOT_THERE_WORDS):
        return ConfigError(f"{what}. Check DATABASE_URL")
    return Unavailable(f"{what}. Check that the server runs and can be reached, then run again")


def _checked(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Not shown, because secrets can't be masked in a malformed URL.
        raise ConfigError(
            "DATABASE_URL is not a URL; expected postgresql://user:password@host/name"
        ) from None
    if parsed.drivername not in _SCHEMES:
        raise ConfigError(
            f"DATABASE_URL starts with {parsed.drivername}://; expected postgresql://user:password@host/name"
        )
    # For a bare postgresql://, SQLAlchemy 2.1 uses psycopg 3, which is not installed.
    return parsed.set(drivername=_DRIVER)
