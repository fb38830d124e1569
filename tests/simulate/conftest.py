import pytest

from batlab.simulate import operando_cell


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """Ten frames on the strip detector, with plating."""
    folder = tmp_path_factory.mktemp("beamline") / "run"
    return operando_cell(folder, n_frames=10, detector="small", seed=7, plating=True, progress=False)
