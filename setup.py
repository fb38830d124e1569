"""The Cython extensions, and nothing else: everything declarative stands in pyproject.toml."""

import copy
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CHECKS = os.environ.get("BATLAB_KERNEL_CHECKS") == "1"


def openmp_flags() -> list[str]:
    """Return the compiler's OpenMP switch, or nothing where it has none (kernels then run serially)."""
    source = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text(source)
        command = [os.environ.get("CC", "cc"), "-fopenmp", str(probe), "-o", str(Path(folder, "probe"))]
        try:
            found = subprocess.run(command, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            sys.exit("batlab needs a C compiler: apt-get install gcc (Debian, Ubuntu), or set CC")
    return ["-fopenmp"] if found else []


OPENMP = openmp_flags()
VENDOR = Path("batlab/_kernels/vendor")
# The modules that decode chunks are linked with LZ4 and bitshuffle.
DECODERS = {"decode", "azimuthal_chunks"}
DECODER_SOURCES = [str(VENDOR / name) for name in ("lz4_build.c", "unshuffle_portable.c", "unshuffle_avx2.c")]
EXACT = {
    name: ["-ffp-contract=off"] for name in ("azimuthal", "azimuthal_split", "azimuthal_chunks", "azimuthal_means")
}
HEADERS = [str(path) for path in sorted(Path("batlab/_kernels").glob("*.h"))]
VENDORED = [str(path) for path in sorted([*VENDOR.glob("*.h"), *VENDOR.glob("*/*.[ch]")])]

extensions = [
    Extension(
        f"batlab._kernels.{path.stem}",
        [str(path), *(DECODER_SOURCES if path.stem in DECODERS else [])],
        include_dirs=["batlab/_kernels"],
        depends=[*HEADERS, *(VENDORED if path.stem in DECODERS else [])],
        # No -march, no -ffast-math: a wheel runs on any x86-64 or arm64, and NaN stays NaN.
        # No fused multiply-add either: sums have the same bits whatever instructions a machine has.
        # Without debugging information, which Python's own flags ask for, compiling takes a third less.
        extra_compile_args=["-O1" if CHECKS else "-O3", "-g0", "-fno-math-errno", *EXACT.get(path.stem, []), *OPENMP],
        extra_link_args=OPENMP,
    )
    for path in sorted(Path("batlab/_kernels").glob("*.pyx"))
]


class ParallelBuild(build_ext):
    """Extensions are built side by side; what two of them share is compiled for each, so that nothing clashes.

    What `make setup` has built already, in place, is taken into a wheel as it is.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count() or 1  # an editable install does not see `options` of setup()

    def build_extension(self, ext: Extension) -> None:
        made, wanted = Path(*self.get_ext_filename(ext.name).split("/")), Path(self.get_ext_fullpath(ext.name))
        newest = max(Path(name).stat().st_mtime for name in [*ext.sources, *ext.depends])
        is_elsewhere = not CHECKS and made.exists() and made.resolve() != wanted.resolve()
        if is_elsewhere and made.stat().st_mtime >= newest:
            wanted.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(made, wanted)
            return
        apart = copy.copy(self)
        apart.build_temp = str(Path(self.build_temp, ext.name))
        build_ext.build_extension(apart, ext)


setup(
    cmdclass={"build_ext": ParallelBuild},
    ext_modules=cythonize(
        extensions,
        build_dir="build/cython-checks" if CHECKS else "build/cython",
        compiler_directives={
            "language_level": "3",
            "boundscheck": CHECKS,
            "wraparound": False,
            "initializedcheck": CHECKS,
            "cdivision": True,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
    ),
)
