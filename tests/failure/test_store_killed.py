"""Processes that are killed at random while they mark: whatever was acknowledged is there, once, as it was said."""

import multiprocessing
import random
import time
import uuid
from pathlib import Path

import pytest

from batlab.failure import Store

PRELOAD = ["batlab.failure.store", "batlab.failure._rows", "batlab.failure._migrate", "psycopg"]
PRELOAD += ["sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"]
# Text, because a process that starts anew cannot import a test module under every import mode of pytest.
KEEP_MARKING = """
import os, uuid
from batlab.failure import Store
file = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND)
done = os.pread(file, 10**7, 0).count(b"\\n")
with Store(where) as store:
    for number in range(done, n_marks):
        name = str(uuid.uuid5(uuid.UUID(int=worker), str(number)))
        mark = store.add("abc", author=f"worker {worker}", frames=(number, number), text=f"{worker} {number} " * 20,
                         category="mechanical", mechanism="cracking", confidence=0.5, mark_id=name)
        os.write(file, f"{mark.id}\\n".encode())
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "cell.marks.sqlite")
    return request.getfixturevalue("database")


def mark_and_kill(where: str, folder: Path, n_workers: int, n_marks: int, pause: float) -> int:
    """Let workers mark until each has done its part; kill one of them every `pause` seconds and start it anew.

    One that has acknowledged nothing since it was started is left alone: on a busy computer nothing would ever end.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    logs = [folder / f"{worker}.log" for worker in range(n_workers)]
    draw, n_killed = random.Random(7), 0

    def start(worker: int):
        names = {"where": where, "log": str(logs[worker]), "n_marks": n_marks, "worker": worker}
        process = context.Process(target=exec, args=(KEEP_MARKING, names), daemon=True)
        process.start()
        return process

    def acknowledged(worker: int) -> int:
        return logs[worker].read_bytes().count(b"\n") if logs[worker].exists() else 0

    running = {worker: start(worker) for worker in range(n_workers)}
    before = dict.fromkeys(running, 0)

    def able_workers() -> list[int]:
        return [worker for worker in running if acknowledged(worker) > before[worker]]

    while running:
        until = time.monotonic() + pause
        while time.monotonic() < until and any(process.is_alive() for process in running.values()):
            if not n_killed and able_workers():  # on a quick computer all would be over before the pause is
                break
            time.sleep(0.01)
        for worker, process in [*running.items()]:
            if not process.is_alive():
                process.join()
                assert process.exitcode == 0, f"worker {worker} ended with {process.exitcode}"
                del running[worker]
        if able := able_workers():
            worker = draw.choice(able)
            running[worker].kill()
            running[worker].join()
            n_killed += running[worker].exitcode == -9
            before[worker] = acknowledged(worker)
            running[worker] = start(worker)
    return n_killed


def check(where: str, folder: Path, n_workers: int, n_marks: int) -> None:
    with Store(where) as store:
        kept = {mark.id: mark for mark in store.marks()}
        assert len(store.marks()) == len(kept) == n_workers * n_marks
    for worker in range(n_workers):
        acknowledged = (folder / f"{worker}.log").read_text().split()
        assert len(set(acknowledged)) == n_marks
        for number, name in enumerate(str(uuid.uuid5(uuid.UUID(int=worker), str(n))) for n in range(n_marks)):
            assert name in acknowledged
            assert (kept[name].author, kept[name].frames) == (f"worker {worker}", (number, number))
            assert kept[name].text == f"{worker} {number} " * 20


def test_three_processes_one_killed_again_and_again(where, tmp_path):
    n_killed = mark_and_kill(where, tmp_path, 3, 50, 0.3)
    check(where, tmp_path, 3, 50)
    assert n_killed > 0


@pytest.mark.soak
def test_eight_processes_one_killed_every_second(where, tmp_path):
    n_killed = mark_and_kill(where, tmp_path, 8, 1000, 1.0)
    check(where, tmp_path, 8, 1000)
    assert n_killed >= 3
    if "://" not in where:
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(where)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
