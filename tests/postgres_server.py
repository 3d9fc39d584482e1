"""A real PostgreSQL, started by hand as a user without rights, on a port and in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.needed import missing
from tests.patience import WITHIN
from tests.ports import free_port

USER, PASSWORD, DATABASE = "triage", "s3cret-word", "fleet"
# A server that is killed loses nothing that it handed to the kernel; only a machine that loses power needs fsync.
_FAST = {
    "fsync": "off",
    "max_connections": "120",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
    "max_wal_size": "256MB",
}


def programs() -> Path | None:
    """Return where the newest server's programs are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def need() -> None:
    """Skip loudly where there is none; on a build machine that is a failure."""
    if programs() is None:
        missing("PostgreSQL is missing (apt install postgresql)")


class PostgresServer:
    """`with PostgresServer() as server:` has an empty database at `server.url`, with a password."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gpu-triage-postgres-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._places = 0

    @property
    def url(self) -> str:
        """The address without a password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def secret(self) -> str:
        """The address with the password in it."""
        return self.url.replace("@", f":{PASSWORD}@")

    def __enter__(self) -> PostgresServer:
        try:
            self._make()
            self.start()
            self._make_database()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self) -> str:
        """Make one more empty place (a schema, which costs nothing), and return its address with the password."""
        import psycopg

        self._places += 1
        name = f"place{self._places}"
        with psycopg.connect(self.secret, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.secret}?options=-csearch_path%3D{name}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert self._process is None
        words = [str(_programs() / "postgres"), "-D", str(self.folder / "data")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **self._who())
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                ready = [str(_programs() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
                if subprocess.run(ready).returncode == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text(errors="replace")[-2000:])

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """End it: SIGQUIT as if it had crashed, SIGINT by ending all connections."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _make_database(self) -> None:
        import psycopg

        with psycopg.connect(self.secret.rpartition("/")[0] + "/postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())

    def _make(self) -> None:
        if os.geteuid() == 0:
            os.chown(self.folder, _nobody().pw_uid, _nobody().pw_gid)
        word = self.folder / "word"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        words = [
            str(_programs() / "initdb"), "-D", str(self.folder / "data"), "-U", USER, "--pwfile", str(word),
            "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C",
        ]  # fmt: skip
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=120, **self._who())
        settings = {**_FAST, "listen_addresses": "127.0.0.1", "port": str(self.port)}
        settings["unix_socket_directories"] = str(self.folder)
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write("".join(f"{name} = '{value}'\n" for name, value in settings.items()))

    def _who(self) -> dict[str, Any]:
        """It refuses to run as root."""
        home: dict[str, Any] = {"cwd": "/", "env": {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}}
        if os.geteuid() != 0:
            return home
        return {**home, "user": _nobody().pw_uid, "group": _nobody().pw_gid, "extra_groups": ()}


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _programs() -> Path:
    found = programs()
    assert found is not None
    return found
