import os
import threading
from pathlib import Path

import numpy as np
import pytest

from batlab import threads


def test_omp_num_threads_is_honoured(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert threads.effective() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1000,2")
    assert 1 <= threads.effective() <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "rubbish")
    assert threads.effective() >= 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "max 100000\n"}, 1 << 16),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1 << 16),
        ({}, 1 << 16),
    ],
)
def test_container_quota(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert threads._quota(tmp_path) == expected


@pytest.mark.parametrize("wish", [0, -1, 1.5, True])
def test_nonsense_is_refused(wish):
    with pytest.raises(ValueError, match="at least 1"):
        threads.effective(wish)


@pytest.mark.skipif(threads._trim() is None, reason="the C library is not glibc")
def test_memory_that_a_thread_has_freed_is_given_back():
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    kept = []

    def hold_much():
        blocks = [np.ones(8000) for _ in range(1600)]  # 100 MB in pieces below the size that is mapped by itself
        kept.append(blocks[-1])  # the last one holds the heap open

    thread = threading.Thread(target=hold_much)
    thread.start()
    thread.join()
    before = resident()
    threads.return_memory()
    assert before - resident() > 30e6
