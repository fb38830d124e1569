"""The README's main path runs as it stands there, on the virtual beamline's files."""

import re
from pathlib import Path

import batlab as bl

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_main_path_runs_as_it_stands_in_the_readme(tmp_path, monkeypatch):
    made = bl.simulate.operando_cell(tmp_path / "cell", n_frames=16, detector="small", seed=4, progress=False)
    code = re.search(r"## The main path\n\n```python\n(.*?)```", README, re.DOTALL).group(1)
    for written, there in {
        '"scan_0042_master.h5"': repr(str(made.master)),
        '"detector.poni"': repr(str(made.poni)),
        '"cell7.mpt", timezone="Europe/Paris"': repr(str(made.cycler)),
        '"nmc811.cif"': repr(str(made.structures["NMC811"])),
    }.items():
        assert written in code
        code = code.replace(written, there)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert abs(float(names["cells"].c[0]) - 14.206) < 0.005  # the fresh cathode of the simulation
    assert (tmp_path / "cell7.html").stat().st_size > 100_000
    for word in re.findall(r"`(batlab [a-z]+)`", README):
        assert word.split()[1] in {"info", "integrate", "track", "report", "demo"}


def test_what_the_readme_points_to_is_there():
    root = Path(__file__).parent.parent
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (root / target).exists(), target
    for name in re.findall(r"`(\d\d_[a-z_]+)`", README):
        assert (root / "notebooks" / f"{name}.ipynb").exists()
