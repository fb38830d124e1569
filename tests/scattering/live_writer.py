"""A detector in a process of its own: writes frames slowly, flushes at bad moments, can be killed.

``live_writer.py KIND FOLDER FRAMES.npy SEED [PAUSE] [FORMAT]`` writes the frames of an .npy file, with random pauses.
"""

import os
import random
import sys
import time
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np

LZ4 = hdf5plugin.Bitshuffle(cname="lz4")


def swmr(folder, frames, rest, *, chunk=None, grows=True, halves=False):
    """One file in SWMR mode; `halves`: each frame in two parts with a flush between."""
    n, *shape = frames.shape
    with h5py.File(folder / "live.h5", "w", libver="latest") as file:
        rest()
        file.create_dataset("entry/instrument/detector/count_time", data=0.1).attrs["units"] = "s"
        size = 0 if grows else n
        data = file.create_dataset(
            "entry/data/data", (size, *shape), frames.dtype, maxshape=(None, *shape), chunks=chunk or (1, *shape),
            compression=LZ4,
        )  # fmt: skip
        file.swmr_mode = True
        for i, frame in enumerate(frames):
            if grows:
                data.resize(i + 1, axis=0)
                if rest():
                    file.flush()
            if halves:
                data[i, : shape[0] // 2] = frame[: shape[0] // 2]
                file.flush()
                rest()
                data[i, shape[0] // 2 :] = frame[shape[0] // 2 :]
            else:
                data[i] = frame
            if rest():
                data.flush()
        rest()


def eiger(folder, frames, rest, *, master_first=True, per_file=7):
    """A master file and data files that appear one after the other."""
    n, *shape = frames.shape
    names = [f"run_data_{k + 1:06d}.h5" for k in range(-(-n // per_file))]

    def master():
        with h5py.File(folder / "run_master.h5", "w") as file:
            for k, name in enumerate(names, start=1):
                file[f"entry/data/data_{k:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
            specific = file.create_group("entry/instrument/detector/detectorSpecific")
            specific["nimages"], specific["ntrigger"] = np.uint64(n), np.uint64(1)
            mask = np.zeros(shape, np.uint32)
            mask[:3] = 1
            specific["pixel_mask"] = mask

    if master_first:
        master()
    for k, name in enumerate(names):
        part = frames[k * per_file : (k + 1) * per_file]
        rest()
        with h5py.File(folder / name, "w") as file:
            data = file.create_dataset("entry/data/data", part.shape, part.dtype, chunks=(1, *shape), compression=LZ4)
            for i, frame in enumerate(part):
                data[i] = frame
                if rest():
                    file.flush()
    if not master_first:
        master()


def pictures(folder, frames, rest, *, kind="tif"):
    """A file a frame, in pieces."""
    import fabio

    write = {"tif": fabio.tifimage.TifImage, "cbf": fabio.cbfimage.CbfImage, "edf": fabio.edfimage.EdfImage}[kind]
    for i, frame in enumerate(frames):
        whole = folder.parent / f"whole.{kind}"
        write(data=frame).write(str(whole))
        content = whole.read_bytes()
        cuts = sorted(random.sample(range(1, len(content)), 2))
        with open(folder / f"img_{i}.{kind}", "wb", buffering=0) as file:
            for part in (content[: cuts[0]], content[cuts[0] : cuts[1]], content[cuts[1] :]):
                file.write(part)
                os.fsync(file.fileno())
                rest()


def main():
    kind, folder, frames, seed, pause = sys.argv[1:6]
    chance = random.Random(int(seed))
    random.seed(int(seed))

    def rest():
        """Sleep or not; say whether to flush."""
        time.sleep(chance.choice([0, 0, float(pause) * chance.random()]))
        return chance.random() < 0.5

    frames, folder = np.load(frames), Path(folder)
    ways = {
        "swmr": lambda: swmr(folder, frames, rest),
        "swmr_halves": lambda: swmr(folder, frames, rest, halves=True),
        "swmr_tiles": lambda: swmr(folder, frames, rest, chunk=(1, 20, frames.shape[2]), halves=True),
        "swmr_deep": lambda: swmr(folder, frames, rest, chunk=(4, *frames.shape[1:])),
        "swmr_allocated": lambda: swmr(folder, frames, rest, grows=False, chunk=(3, *frames.shape[1:])),
        "eiger": lambda: eiger(folder, frames, rest),
        "eiger_late_master": lambda: eiger(folder, frames, rest, master_first=False),
        "tif": lambda: pictures(folder, frames, rest),
        "cbf": lambda: pictures(folder, frames, rest, kind="cbf"),
        "edf": lambda: pictures(folder, frames, rest, kind="edf"),
    }
    ways[kind]()


if __name__ == "__main__":
    main()
