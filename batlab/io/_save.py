"""Write a result in the format that its file's name says."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import xarray as xr

from batlab.errors import did_you_mean
from batlab.schema import check

# Ending -> module with write(obj, path).
WRITERS = {
    ".nc": "netcdf",
    ".h5": "netcdf",
    ".hdf5": "netcdf",
    ".nxs": "netcdf",
    ".zarr": "zarr_store",
    ".csv": "bdf",
    ".bdf": "bdf",
    ".parquet": "bdf",
}


def save(
    obj: xr.Dataset | xr.DataArray | xr.DataTree,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a result: ``.nc .h5 .nxs`` (netCDF-4/HDF5 with NeXus attributes), ``.zarr``; a cycler's record also as BDF
    (``.bdf.csv``, ``.bdf.parquet``).

    The first two lose nothing; BDF holds the columns and their units only.

    Parameters
    ----------
    obj
        What keeps the data model (`batlab.schema.check`). Lazy data go chunk by chunk.
    path
        Its ending says the format.
    overwrite
        Replace a file that is there; the old one stays until the new one is whole.
    progress
        Show a bar.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    AlreadyThereError
        The file is there and `overwrite` is False.
    ValueError
        For an ending that no writer knows; `batlab.schema.check`'s errors for an object that breaks the data model.
    """
    target = Path(path).expanduser()
    module = WRITERS.get(target.suffix.lower())
    if module is None:
        hint = did_you_mean(target.suffix, WRITERS) or f"; endings are {', '.join(WRITERS)}"
        raise ValueError(f"{target.name}: cannot tell the format to write from its ending{hint}")
    if isinstance(obj, xr.DataTree):
        check(obj)
    else:
        check(obj.to_dataset(name=obj.name or "value") if isinstance(obj, xr.DataArray) else obj)
    import_module(f"batlab.io.{module}").write(obj, target, overwrite=overwrite, progress=progress)
    return target
