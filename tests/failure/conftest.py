"""A PostgreSQL server of its own for the tests of a shared store; in CI it must be there."""

import fcntl
import itertools
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

NUMBERS = itertools.count()


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    there = found[-1] if found else shutil.which("initdb")
    return Path(there).parent if there else None


def _debian_package() -> Path | None:
    """Install Debian's server where we may: as root; one process of the tests at a time."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return None
    with Path(tempfile.gettempdir(), "batlab-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _binaries() is None:
            quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "capture_output": True}
            subprocess.run([apt, "update", "-qq"], check=False, **quiet)
            words = ["install", "-y", "-qq", "--no-install-recommends", "postgresql"]
            done = subprocess.run([apt, *words], check=False, text=True, **quiet)
            if done.returncode:
                _miss(f"apt-get install postgresql failed: {done.stderr[-500:]}")
    return _binaries()


def _miss(why: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{why}, which CI must have")
    pytest.skip(why)


class Server:
    """A cluster in a folder of its own, run by the user postgres where the tests run as root."""

    def __init__(self, binaries: Path) -> None:
        self.binaries, self.folder = binaries, Path(tempfile.mkdtemp(prefix="batlab-pg-", dir="/tmp"))
        self.password = secrets.token_hex(8)
        self.as_whom = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        word = self.folder / "word"
        word.write_text(self.password)
        if self.as_whom:
            for path in (self.folder, word):
                shutil.chown(path, "postgres", "postgres")
        self.run("initdb", "-D", self.folder / "data", "-A", "scram-sha-256", "-U", "batlab", f"--pwfile={word}",
                 "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def run(self, program: str, *words: object) -> None:
        done = subprocess.run([self.binaries / program, *map(str, words)], capture_output=True, text=True, timeout=120,
                              cwd=self.folder, check=False, **self.as_whom)  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        told = f"-c listen_addresses=127.0.0.1 -p {self.port} -c unix_socket_directories={self.folder}"
        # The log takes the server's output: as long as a server held ours, nobody could wait for its end.
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", told, "start")

    def stop(self, how: str = "fast") -> None:
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-m", how, "stop")

    def url(self, database: str, user: str = "batlab", password: str = "") -> str:
        return f"postgresql+psycopg://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def execute(self, database: str, *statements: str) -> list[tuple]:
        import psycopg

        with psycopg.connect(self.url(database).replace("+psycopg", ""), autocommit=True) as connection:
            for statement in statements:
                answer = connection.execute(statement)
            return answer.fetchall() if answer.description else []


@pytest.fixture(scope="session")
def server():
    binaries = _binaries() or _debian_package()
    if binaries is None:
        _miss("no PostgreSQL on this computer (Debian: apt-get install postgresql)")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        _miss("no psycopg in this environment (pip install 'batlab[postgres]')")
    server = Server(binaries)
    yield server
    server.stop("immediate")
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def database(server) -> str:
    """The address of an empty database."""
    name = f"marks_{next(NUMBERS)}"
    server.execute("postgres", f"CREATE DATABASE {name}")
    return server.url(name)
