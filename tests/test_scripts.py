"""The set-up's own scripts: what can be tested without a second machine."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_counts_of_several_runs_are_added():
    counts = load(ROOT / "scripts/count_tests.py").count(
        "===== 12 passed, 1 skipped in 3.21s =====\nnoise\n= 1 failed, 2 passed, 1 error in 0.10s =\n"
        "==== 3 passed, 4 deselected in 70.00s (0:01:10) ====\n"
    )
    assert counts == {"passed": 17, "failed": 2, "skipped": 1}


def test_the_lock_names_every_hash_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|index-url|find-links", text)
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert len(blocks) > 100
    assert all("--hash=sha256:" in block for block in blocks)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_an_old_python_is_refused_with_the_way_out(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "PYTHON": str(old), "HOME": str(tmp_path)}
    done = subprocess.run(["bash", ROOT / "scripts/setup.sh"], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert "make setup PYTHON=" in done.stderr


def test_the_kernels_are_portable():
    text = (ROOT / "setup.py").read_text()
    assert "-march" not in text.replace("No -march", "")
    assert "-ffast-math" not in text.replace("no -ffast-math", "")


def test_binder_names_what_exists():
    for name in ("requirements.txt", "apt.txt", "runtime.txt", "postBuild", "start"):
        assert (ROOT / "binder" / name).stat().st_size > 0
    assert os.access(ROOT / "binder/postBuild", os.X_OK)
    assert (ROOT / "binder/start").read_text().rstrip().endswith('exec "$@"')
