"""Patterns on disk as they come: a Zarr store that remembers its job and what is finished."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from batlab.errors import BatlabError
from batlab.io import zarr_store
from batlab.io.atomic import replacing
from batlab.io.plain_form import VERSION, to_plain
from batlab.scattering.lock import Lock
from batlab.scattering.work import Outcome

# The job, the log of finished tasks, the lock. In the folder of an array, because Zarr warns of what it does not know
# in that of a group.
FOLDER = "intensity/.series"
EAGER = 2**22  # bytes; larger variables of a whole store are lazy, together they would fill the memory
CHECKED = 64  # of the last finished tasks that a new run reads back: a loss of power may have taken them


class OtherJobError(BatlabError, FileExistsError):
    """The store belongs to other frames, another geometry or other settings."""


class Store:
    """Patterns of one job in a Zarr store of format 3, one chunk a task.

    A task's results are written first, then one line in the log says so; a line that is cut short does not count. The
    store can be opened with `io.open` once it is whole.

    Parameters
    ----------
    path
        A folder that is not there yet, or one that the same job left.
    job
        What the patterns depend on, as digests in words: the first that differs is named when a store is refused.
    template
        Returns the Dataset with lazy variables of the right shape, asked only where the store is new.
    names
        The variables that tasks write.
    size
        Frames of a task, the chunks of the store.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        job: dict[str, str],
        template: Callable[[], xr.Dataset],
        *,
        names: Iterable[str],
        size: int,
    ) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix != ".zarr":
            raise ValueError(f"store must end with '.zarr', got {self.path.name!r}")
        self.job = {**job, "size": str(size)}
        self._template = template
        self._names = sorted(names)
        self._held = ExitStack()
        self._arrays: dict[str, Any] = {}
        self.finished: dict[int, dict[int, str]] = {}  # first frame of a task -> its frames that could not be read

    def __enter__(self) -> Store:
        self._make()
        self._check()
        if self.is_whole:
            return self
        try:
            self._held.enter_context(Lock(self.path / FOLDER / "lock", self.path))
            if not self.is_whole:  # it may have become so meanwhile
                self._open()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._held.close()

    @property
    def is_whole(self) -> bool:
        """Whether all frames were integrated and the store can be opened by anyone."""
        return "batlab_schema" in self._meta().get("attributes", {})

    def put(self, outcome: Outcome) -> None:
        """Keep the results of a task, and then that it is finished."""
        check = 0
        for name, part in sorted(outcome.parts.items()):
            array = self._arrays[name]
            shaped = part.reshape(len(part), *array.shape[1:])
            array[outcome.rows] = shaped
            check = zlib.crc32(np.ascontiguousarray(shaped).data, check)
        line = [outcome.rows.start, check, {str(frame): told for frame, told in outcome.unread.items()}]
        os.write(self._log, json.dumps(line).encode() + b"\n")
        self.finished[outcome.rows.start] = outcome.unread

    def finish(self) -> xr.Dataset:
        """Mark the store as whole and return its patterns, lazily where they are large."""
        if not self.is_whole:
            meta = self._meta()
            unread = sorted(frame for lost in self.finished.values() for frame in lost)
            if unread:
                tag = json.loads(meta["attributes"]["_batlab"])
                tag.setdefault("attrs", {})["unread_frames"] = unread
                meta["attributes"]["_batlab"] = json.dumps(tag)
            meta["attributes"] = {k: v for k, v in meta["attributes"].items() if k != zarr_store.UNFINISHED}
            meta["attributes"]["batlab_schema"] = VERSION
            with replacing(self.path / "zarr.json", overwrite=True) as new:
                new.write_text(json.dumps(meta), encoding="utf-8")
        result = zarr_store.read([self.path], EAGER)
        assert isinstance(result, xr.Dataset)
        del result.attrs["batlab_schema"]
        return result

    def _make(self) -> None:
        """Lay the store out where it is not there yet; another process may do the same at the same time."""
        if self.path.exists():
            return
        plain = to_plain(self._template())
        plain.attrs[zarr_store.UNFINISHED] = "scattering.integrate"
        attrs = {name: value for name, value in plain.attrs.items() if name != "coordinates"}
        plain = plain.drop_attrs(deep=False).assign_attrs(attrs)  # xarray derives 'coordinates' itself
        encoding = {name: {"compressors": _squeeze()} for name in self._names}
        try:
            with replacing(self.path, overwrite=False) as new:
                plain.to_zarr(new, mode="w", consolidated=False, zarr_format=3, compute=False, encoding=encoding)
                (new / FOLDER).mkdir()
                (new / FOLDER / "job.json").write_text(json.dumps(self.job, indent=1), encoding="utf-8")
        except OSError:
            if not self.path.exists():
                raise

    def _check(self) -> None:
        try:
            known = json.loads((self.path / FOLDER / "job.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OtherJobError(
                f"{self.path}: is there already and is no store of scattering.integrate; choose another name"
            ) from error
        other = [name for name in {**known, **self.job} if known.get(name) != self.job.get(name)]
        if other:
            raise OtherJobError(
                f"{self.path}: holds the patterns of another job: {', '.join(other)} differ; choose another store, or "
                "delete this one"
            )

    def _open(self) -> None:
        import zarr

        group = zarr.open_group(self.path, mode="r+", zarr_format=3, use_consolidated=False)
        size = int(self.job["size"])
        self._arrays = {name: group[name] for name in self._names}
        log = self.path / FOLDER / "finished"
        self.finished = self._read_log(log, size)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._held.callback(os.close, self._log)

    def _read_log(self, path: Path, size: int) -> dict[int, dict[int, str]]:
        """Return the finished tasks, less those whose results are not what was written; the log is left clean."""
        lines = []
        for text in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
            try:
                start, check, unread = json.loads(text if text.endswith(b"\n") else b"")
                lines.append((int(start), int(check), dict(unread)))
            except (ValueError, TypeError):  # cut short, or not ours: the task is done again
                continue
        good = lines[:-CHECKED] + [line for line in lines[-CHECKED:] if self._crc(line[0], size) == line[1]]
        with replacing(path, overwrite=True) as new:
            new.write_text("".join(json.dumps(line) + "\n" for line in good), encoding="utf-8")
        return {start: {int(frame): told for frame, told in unread.items()} for start, _, unread in good}

    def _crc(self, start: int, size: int) -> int:
        check = 0
        try:
            for _, array in sorted(self._arrays.items()):
                check = zlib.crc32(np.ascontiguousarray(array[start : start + size]).data, check)
        except (OSError, RuntimeError, ValueError):  # a chunk that is cut short does not decompress
            return -1
        return check

    def _meta(self) -> dict[str, Any]:
        return json.loads((self.path / "zarr.json").read_text(encoding="utf-8"))


def _squeeze() -> Any:
    """Blosc with LZ4 costs 0.2 ms a task and array more than no compression; zstd 1 to 2 ms (2000 bins, 32 frames)."""
    from zarr.codecs import BloscCodec, BloscShuffle

    return (BloscCodec(cname="lz4", clevel=1, shuffle=BloscShuffle.shuffle, typesize=8),)
