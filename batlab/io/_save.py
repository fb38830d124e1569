"""Write a result in the format that its file's name says."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import xarray as xr

from batlab.errors import did_you_mean
from batlab.io.poni import Geometry
from batlab.schema import check

# Ending -> module with write(obj, path, *, overwrite, progress). A double ending goes before its last part.
WRITERS = {
    ".cansas.h5": "nxcansas",
    ".nc": "netcdf",
    ".h5": "netcdf",
    ".hdf5": "netcdf",
    ".nxs": "netcdf",
    ".zarr": "zarr_store",
    ".xy": "columns_text",
    ".xye": "columns_text",
    ".xdi": "xdi",
    ".prj": "athena_write",
    ".csv": "bdf",
    ".bdf": "bdf",
    ".parquet": "bdf",
    ".edf": "mask_image",
    ".tif": "mask_image",
    ".npy": "mask_image",
    ".poni": "poni",
}


def save(
    obj: xr.Dataset | xr.DataArray | xr.DataTree | Geometry,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Write a result in the format that the ending of `path` names, whole or not at all.

    Parameters
    ----------
    obj
        What keeps the rules of the data model.
    path
        ``.nc .h5 .nxs`` (netCDF-4/HDF5 with NeXus attributes) and ``.zarr`` lose nothing; lazy data are written chunk
        by chunk. ``.xy .xye`` take one pattern as columns, ``.cansas.h5`` small-angle curves as NXcanSAS, ``.xdi`` one
        absorption scan, ``.prj`` spectra as an Athena project; ``.csv .parquet`` a cycler's record as BDF, its columns
        and their units only; ``.edf .tif .npy`` a mask (y, x) as an image, 1 where excluded; ``.poni`` a `Geometry`.
    overwrite
        Replace what is there.
    progress
        Show a bar while lazy data are computed.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    AlreadyThereError
        `path` is there and `overwrite` is False.
    TypeError
        `obj` is none of these.
    ValueError
        For an ending that no writer knows; `batlab.schema.check`'s errors for an object that breaks the data model.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from batlab.schema import quantity
    >>> path = pathlib.Path(tempfile.mkdtemp(), "cell.nc")
    >>> cell = xr.Dataset({"voltage": quantity("record", [3.9, 4.0], "V", "voltage")})
    >>> save(cell, path).name
    'cell.nc'
    """
    target = Path(path).expanduser()
    module = WRITERS.get("".join(target.suffixes[-2:]).lower()) or WRITERS.get(target.suffix.lower())
    if module is None:
        hint = did_you_mean(target.suffix, WRITERS) or f"; endings are {', '.join(WRITERS)}"
        raise ValueError(f"{target.name}: cannot tell the format to write from its ending{hint}")
    if isinstance(obj, Geometry) != (module == "poni"):
        raise TypeError(f"{target.name}: a .poni takes a Geometry and no other format does, got {type(obj).__name__}")
    if isinstance(obj, Geometry):
        import_module("batlab.io.poni").write(obj, target, overwrite=overwrite)
        return target
    if not isinstance(obj, (xr.Dataset, xr.DataArray, xr.DataTree)):
        raise TypeError(f"io.save takes a Dataset, DataArray or DataTree, got {type(obj).__name__}")
    if isinstance(obj, xr.DataTree):
        check(obj)
    else:
        check(obj.to_dataset(name=obj.name or "value") if isinstance(obj, xr.DataArray) else obj)
    import_module(f"batlab.io.{module}").write(obj, target, overwrite=overwrite, progress=progress)
    return target
