"""One pattern as columns of text: ``.xy`` and ``.xye``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from batlab.io.atomic import replacing
from batlab.schema import version

AXES = {"two_theta": "2th_deg", "q": "q_A^-1", "r": "r_A", "energy": "energy_eV", "k": "k_A^-1"}


def write(
    obj: xr.Dataset | xr.DataArray | xr.DataTree, path: Path, *, overwrite: bool = False, progress: bool = False
) -> None:
    """Write axis, intensity and, to ``.xye``, its standard deviation, with a header that names them.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    ValueError
        Not one pattern, or ``.xye`` without ``intensity_sigma``.
    """
    dataset = obj.to_dataset(name=obj.name or "intensity") if isinstance(obj, xr.DataArray) else obj
    if not isinstance(dataset, xr.Dataset) or "intensity" not in dataset:
        raise ValueError(f"{path.suffix} takes one pattern with 'intensity', got a {type(obj).__name__} without it")
    n = dataset.sizes.get("frame", 1)
    if n != 1:
        raise ValueError(f"{path.suffix} takes one pattern, got {n}; save each ds.isel(frame=[i]), or all as .nc")
    one = dataset.squeeze("frame") if "frame" in dataset.dims else dataset
    axis = str(one["intensity"].dims[0]) if one["intensity"].ndim == 1 else ""
    if axis not in AXES or axis not in one.coords:
        raise ValueError(f"{path.suffix} takes intensity over one of {', '.join(AXES)}, got {one['intensity'].dims}")
    names, columns = [AXES[axis], "intensity"], [one[axis].values, one["intensity"].values]
    if path.suffix.lower() == ".xye":
        if "intensity_sigma" not in one:
            raise ValueError(".xye needs 'intensity_sigma'; without it save as .xy")
        names, columns = [*names, "sigma"], [*columns, one["intensity_sigma"].values]
    header = [f"batlab {version()}"]
    if "wavelength" in dataset.attrs:
        header.append(f"Wavelength: {dataset.attrs['wavelength'] * 1e-10:.10g} m")
    with replacing(path, overwrite) as unfinished:
        np.savetxt(unfinished, np.column_stack(columns), fmt="%.10g", header="\n".join([*header, " ".join(names)]))
