"""The NeXus face of a file that batlab writes: what h5web and silx plot when they open it."""

from __future__ import annotations

from collections.abc import Mapping

import h5py
import numpy as np
import xarray as xr

# What is plotted first where a dataset has several.
SIGNALS = (
    "intensity", "voltage", "mu", "g_r", "f_q", "position", "a", "value",
)  # fmt: skip
VIEW = "batlab_view"


def write_view(file: h5py.File, parts: Mapping[str, xr.Dataset]) -> None:
    """Add an NXentry with one NXdata of links for each dataset in `parts` (path in the file -> dataset)."""
    file.attrs["NX_class"] = "NXroot"
    plottable = {path: signal for path, part in parts.items() if (signal := default_signal(part)) is not None}
    if not plottable:
        return
    name = "entry"
    while name in file:
        name += "_"
    file.attrs["default"] = name
    entry = file.create_group(name)
    entry.attrs.update({"NX_class": "NXentry", VIEW: np.int8(1)})
    for path, signal in plottable.items():
        label = path.strip("/").replace("/", "_") or "data"
        while label in entry:
            label += "_"
        entry.attrs.setdefault("default", label)
        _write_data(entry.create_group(label), file[path or "/"], parts[path], signal)


def default_signal(dataset: xr.Dataset) -> str | None:
    """Return the variable to plot first: numbers over at least one dimension."""
    names = [str(name) for name in dataset.data_vars if dataset[name].ndim and dataset[name].dtype.kind in "iuf"]
    names = [name for name in names if not name.endswith("_sigma") and dataset[name].size]
    return next((name for name in SIGNALS if name in names), names[0] if names else None)


def _write_data(group: h5py.Group, home: h5py.Group, dataset: xr.Dataset, signal: str) -> None:
    value = dataset[signal]
    group.attrs["NX_class"] = "NXdata"
    group.attrs["signal"] = signal
    group[signal] = home[signal]
    axes = [str(dim) if _is_axis(dataset, str(dim)) else "." for dim in value.dims]
    for dim in set(axes) - {"."}:
        group[dim] = home[dim]
    # One text where there is one axis, a list else: both are NeXus, and silx reads both.
    group.attrs["axes"] = np.array(axes, dtype=h5py.string_dtype())
    if f"{signal}_sigma" in dataset:
        group[f"{signal}_errors"] = home[f"{signal}_sigma"]
    if value.ndim >= 2:
        group.attrs["interpretation"] = "image" if value.dims[-2:] == ("y", "x") else "spectrum"


def _is_axis(dataset: xr.Dataset, dim: str) -> bool:
    return dim in dataset.coords and dataset[dim].dtype.kind in "iuf" and dataset[dim].dims == (dim,)
