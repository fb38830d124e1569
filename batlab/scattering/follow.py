"""Patterns of a series that is still being measured."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any

import xarray as xr

from batlab.errors import ReadError, refuse_unknown
from batlab.io.growing_series import GrowingSeries, Source
from batlab.scattering.integrator import Integrator
from batlab.schema import record

GROUP = 8  # frames read and binned at once
WAITS = (0.05, 1.0)  # s between two looks at the files: the first after a frame has come, and the longest
GROWTH = 1.5
HINTS = ("path", "mask_bits", "allow_links", "wavelength")
TICK = 0.05  # s between two looks of an event loop at what has come
# s a user's thread sleeps at most: Ctrl-C does not wake it where the system hands the signal to another thread.
AWAKE = 0.2
# What a network file system may answer to a look, and no longer a moment after.
PASSING = {errno.EINTR, errno.EAGAIN, errno.EIO, errno.ESTALE, errno.ETIMEDOUT}


def follow(
    path: Source,
    integrator: Integrator,
    *,
    n_frames: int | None = None,
    timeout: float | None = 600.0,
    settle: float = 1.0,
    queue: int = 4,
    **hints: Any,
) -> Follower:
    """Integrate frames as they are written, each exactly once and in order, never one that is half written.

    A thread of its own looks at the files, reads what is whole and integrates it. It holds at most `queue` results of
    at most 8 frames; while nobody takes them it reads nothing more, and catches up later.

    A frame counts as whole when its bytes are stored within the file, can be decoded, and the writer has gone on: a
    later frame or file has begun, the file is closed, or nothing has changed for `settle` seconds. The newest frame
    thus comes with the next one, or after `settle`.

    Parameters
    ----------
    path
        What may not be there yet: an HDF5 file written in SWMR mode (chunked, growing or allocated at once); an
        Eiger's master file, whose linked data files appear one after the other; a folder of images (TIFF, CBF, EDF,
        GADDS); a glob of data files or images; or a list of them. An HDF5 file that is not written in SWMR mode is
        read once it is closed.
    integrator
        The plan, ``Integrator("detector.poni", n_bins=2000)``; its `monitor` cannot name a variable of the frames.
    n_frames
        End after so many frames.
    timeout
        End when no frame has come for so many seconds; what is whole by then is still read. None waits for ever.
    settle
        Seconds without change after which a file is believed to be finished where nothing else tells. A writer that
        pauses longer in the middle of a frame needs more.
    queue
        Results that wait to be taken, at most.
    **hints
        As for `io.open`: ``path``, ``mask_bits``, ``allow_links``, ``wavelength``.

    Returns
    -------
    Follower
        To be iterated over, in a ``for`` loop, or with ``async for`` beside a running event loop. It ends after
        ``stop()``, `n_frames`, `timeout`, when the writer closes its only file (HDF5's latest format), and when the
        number of images that a master file announces has come.

    Raises
    ------
    ReadError
        From the iterator: the files hold no frames, frames of another shape, or lead outside their folder.
    TypeError, ValueError
        For an unknown hint, or a number out of range.

    Warns
    -----
    UserWarning
        At the end, if frames were given up as they never became whole, or fewer than `n_frames` came.

    Notes
    -----
    Frame numbers are those of `io.open`. Pixels that hold an overflow value are left out frame by frame; a mask that
    `io.open` would make from the first and last frame cannot be known yet.

    Examples
    --------
    >>> import batlab as bl
    >>> plan = bl.scattering.Integrator("detector.poni", n_bins=2000)  # doctest: +SKIP
    >>> with bl.follow("scan_0042_master.h5", plan, timeout=60) as patterns:  # doctest: +SKIP
    ...     for new in patterns:
    ...         print(new.frame.values, new.intensity.max().item())
    """
    return Follower(path, integrator, n_frames=n_frames, timeout=timeout, settle=settle, queue=queue, **hints)


class Follower:
    """Patterns of frames as they come: an iterator, an asynchronous iterator, and a context manager. See `follow`.

    Attributes
    ----------
    ended
        Why it ended: ``"stopped"``, ``"n_frames"``, ``"timeout"``, ``"complete"``, ``"failed"``; None while it goes on.
    n_followed
        Frames integrated so far.
    lost
        Numbers of frames that never became whole.
    """

    def __init__(
        self,
        path: Source,
        integrator: Integrator,
        *,
        n_frames: int | None = None,
        timeout: float | None = 600.0,
        settle: float = 1.0,
        queue: int = 4,
        **hints: Any,
    ) -> None:
        if not isinstance(integrator, Integrator):
            raise TypeError(f"follow needs an Integrator, got a {type(integrator).__name__}; make one from the .poni")
        if n_frames is not None and n_frames < 1:
            raise ValueError(f"n_frames must be at least 1 or None, got {n_frames!r}")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be positive or None, got {timeout!r}")
        if not settle >= 0:
            raise ValueError(f"settle must be at least 0 s, got {settle!r}")
        if queue < 1:
            raise ValueError(f"queue must be at least 1, got {queue!r}")
        refuse_unknown("scattering.follow", hints, HINTS)
        self._told = {"settle": settle, "n_frames": n_frames, "timeout": timeout, **hints}
        self._job = _Job(GrowingSeries(path, settle=settle, **hints), integrator, n_frames, timeout, queue)
        self._thread: threading.Thread | None = None
        # A follower that nobody holds any more must not leave its thread behind.
        self._finalizer = weakref.finalize(self, self._job.stop)

    @property
    def ended(self) -> str | None:
        return self._job.ended

    @property
    def n_followed(self) -> int:
        return self._job.n_followed

    @property
    def lost(self) -> list[int]:
        return list(self._job.series.lost)

    def start(self) -> Follower:
        """Begin to follow now; iterating does so by itself."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._job.run, name="batlab-follow", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """End as soon as the frames at work are done, from any thread; what waits to be taken can still be taken."""
        self._job.stop()

    def collect(self) -> xr.Dataset:
        """Wait for the end and return all patterns that have not been taken, as one Dataset.

        Raises
        ------
        ReadError
            Nothing came.
        """
        parts = list(self)
        if not parts:
            raise ReadError(f"{self._job.series}: no frame came; {self._job.series.reason}")
        return record(joined(parts), "scattering.follow", **self._told)

    def __enter__(self) -> Follower:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()
        while self._thread is not None and self._thread.is_alive():
            self._thread.join(AWAKE)

    def __iter__(self) -> Iterator[xr.Dataset]:
        return self

    def __next__(self) -> xr.Dataset:
        try:
            self.start()
            new = self._job.take(wait=True)
        except KeyboardInterrupt:
            self.stop()
            raise
        if new is None:
            self._end()
            raise StopIteration
        return new

    def __aiter__(self) -> AsyncIterator[xr.Dataset]:
        return self

    def ready(self) -> xr.Dataset | None:
        """Return the next patterns if they are there, else None, at once."""
        return self._job.take(wait=False)

    async def __anext__(self) -> xr.Dataset:
        self.start()
        while True:
            # Asked before the queue: what comes between the two is found at the next look.
            is_over = self.ended is not None
            if (new := self._job.take(wait=False)) is not None:
                return new
            if is_over:
                self._end()
                raise StopAsyncIteration
            await asyncio.sleep(TICK)

    def _end(self) -> None:
        """Raise or warn of what went wrong, once."""
        job, series = self._job, self._job.series
        error, job.error = job.error, None
        if error is not None:
            raise error
        if job.has_told:
            return
        job.has_told = True
        doubts = []
        if series.lost:
            doubts.append(f"{len(series.lost)} frames never became whole ({series.lost[:5]}: {series.reasons[0]})")
        if job.n_frames is not None and job.ended == "timeout" and job.n_followed < job.n_frames:
            doubts.append(f"only {job.n_followed} of {job.n_frames} frames came; {series.reason}")
        if doubts:
            warnings.warn(f"scattering.follow: {series}: {'; '.join(doubts)}", UserWarning, stacklevel=3)


class _Job:
    """What the thread does, and the bounded queue to whoever takes the patterns; knows nothing of the `Follower`."""

    def __init__(
        self, series: GrowingSeries, integrator: Integrator, n_frames: int | None, timeout: float | None, size: int
    ) -> None:
        self.series, self.integrator = series, integrator
        self.n_frames, self.timeout, self.size = n_frames, timeout, size
        self.n_followed = 0
        self.ended: str | None = None
        self.error: BaseException | None = None
        self.has_told = False
        self._ready: deque[xr.Dataset] = deque()
        self._changed = threading.Condition()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End soon."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def take(self, *, wait: bool) -> xr.Dataset | None:
        """Return the oldest result; None at the end, or where none is ready and `wait` is off."""
        with self._changed:
            while wait and not self._ready and self.ended is None:
                self._changed.wait(AWAKE)
            new = self._ready.popleft() if self._ready else None
            self._changed.notify_all()
        return new

    def run(self) -> None:
        """Follow to the end; whatever is raised is kept for the one who takes the patterns."""
        ended = "failed"
        try:
            ended = self._follow()
        # Handed over: it is raised again by whoever takes the patterns.
        except BaseException as error:  # noqa: BLE001
            self.error = error
        with self._changed:
            self.ended = ended
            self._changed.notify_all()

    def _follow(self) -> str:
        wait, since = WAITS[0], time.monotonic()
        at_end = False
        while not self._stopped.is_set():
            frames = self._look(at_end)
            if frames is not None:
                if not self._put(self.integrator(frames)):
                    break
                if self.n_followed == self.n_frames:
                    return "n_frames"
                wait, since = WAITS[0], time.monotonic()
            elif self.series.is_over:
                return "complete"
            elif at_end:
                return self._give_up()
            elif self.timeout is not None and time.monotonic() - since > self.timeout:
                at_end = True
            else:
                self._stopped.wait(wait)
                wait = min(GROWTH * wait, WAITS[1])
        return "stopped"

    def _look(self, at_end: bool) -> xr.Dataset | None:
        """Return the next whole frames; None where there are none yet, or the file system stumbles."""
        most = GROUP if self.n_frames is None else min(GROUP, self.n_frames - self.n_followed)
        try:
            return self.series.next(most, at_end=at_end)
        except OSError as error:
            if at_end or error.errno not in PASSING:
                raise
            self.series.reason = str(error)
            return None

    def _give_up(self) -> str:
        if not self.n_followed:
            raise ReadError(f"{self.series}: no frame came within {self.timeout:g} s; {self.series.reason}")
        return "timeout"

    def _put(self, patterns: xr.Dataset) -> bool:
        """Wait for room and hand over; False where it was stopped meanwhile."""
        with self._changed:
            while len(self._ready) >= self.size and not self._stopped.is_set():
                self._changed.wait()
            if self._stopped.is_set():
                return False
            self._ready.append(patterns)
            self.n_followed += patterns.sizes["frame"]
            self._changed.notify_all()
        return True


def joined(parts: list[xr.Dataset]) -> xr.Dataset:
    """Return parts of one series as one Dataset; what has no frames, and attributes, are those of the first."""
    return xr.concat(
        parts,
        "frame",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
