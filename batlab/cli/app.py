"""The commands. Each one is a few calls of public functions; what they do is told there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from batlab.cli.messages import check_output, console, reported, saved

app = typer.Typer(
    name="batlab",
    help="X-ray diffraction on batteries: from detector frames to cell parameters to a report.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]
Hint = Annotated[
    list[str] | None,
    typer.Option("--hint", metavar="NAME=VALUE", help="What the file does not say, e.g. wavelength=0.41. Repeatable."),
]


def main() -> None:
    """Run the command line; 0 when all went well, 1 after an error, 2 when the command was not understood."""
    app()


@app.callback(invoke_without_command=True)
def _about(version: Annotated[bool, typer.Option("--version", help="Show the version and stop.")] = False) -> None:
    if version:
        from batlab import schema

        console.print(f"batlab {schema.version()}")
        raise typer.Exit


@app.command(epilog="[bold]Example:[/] batlab info scan_0042_master.h5")
@reported
def info(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Any file that batlab reads, several, or a glob.")
    ],
    hint: Hint = None,
    debug: Debug = False,
) -> None:
    """Tell what is in a file: dimensions, units, times, source."""
    from batlab.cli.describe import describe

    for part in describe(_open(files, hint)):
        console.print(part)


@app.command(epilog='[bold]Example:[/] batlab integrate "scan_*_master.h5" det.poni -o patterns.nc --n-bins 2000')
@reported
def integrate(
    files: Annotated[list[str], typer.Argument(metavar="FRAMES...", help="Detector frames: files or a glob.")],
    geometry: Annotated[Path, typer.Argument(metavar="PONI", help="pyFAI's calibration.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the patterns (.nc, .zarr).")],
    n_bins: Annotated[int, typer.Option("--n-bins", min=1, help="Number of bins.")] = 2000,
    unit: Annotated[str, typer.Option(help="q or two_theta.")] = "q",
    orientation: Annotated[int | None, typer.Option(min=1, max=4, help="Detector orientation of an old .poni.")] = None,
    polarization: Annotated[float, typer.Option(help="Polarization factor.")] = 0.99,
    overwrite: Overwrite = False,
    hint: Hint = None,
    debug: Debug = False,
) -> None:
    """Average detector frames over rings: frames to patterns."""
    import batlab as bl

    check_output(output, overwrite=overwrite)
    frames = _open(files, hint)
    calibration = bl.open(geometry, **({} if orientation is None else {"orientation": orientation}))
    patterns = bl.scattering.integrate(frames, calibration, n_bins=n_bins, unit=unit, polarization=polarization)
    saved(bl.save(patterns, output, overwrite=overwrite), patterns)


@app.command(epilog="[bold]Example:[/] batlab track patterns.nc nmc.cif -o cells.nc --peaks peaks.nc --standard Al.cif")
@reported
def track(
    files: Annotated[list[str], typer.Argument(metavar="PATTERNS...", help="Patterns: files or a glob.")],
    structure: Annotated[Path, typer.Argument(metavar="CIF", help="Structure of the phase.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the cells (.nc, .zarr).")],
    peaks: Annotated[Path | None, typer.Option(help="Where to write the peak table too.")] = None,
    standard: Annotated[
        Path | None, typer.Option(help="Structure of an internal standard, to correct the zero.")
    ] = None,
    overwrite: Overwrite = False,
    beside: Annotated[
        list[Path] | None, typer.Option("--also", help="Another phase in the sample. Repeatable.")
    ] = None,
    lines: Annotated[
        list[str] | None, typer.Option("--line", metavar="HKL", help="Only this line, e.g. '4 0 0'. Repeatable.")
    ] = None,
    hint: Hint = None,
    debug: Debug = False,
) -> None:
    """Follow the peaks of a phase and refine its cell in every frame: patterns to cell parameters."""
    import batlab as bl

    check_output(output, peaks, overwrite=overwrite)
    patterns = _open(files, hint)
    all_phases = [bl.io.structure(path) for path in (structure, standard, *(beside or [])) if path]
    table = bl.curves.fit_peaks(patterns, near={phase.attrs["phase"]: phase for phase in all_phases})
    cells = bl.xrd.refine_cell(table, all_phases[0], standard=all_phases[1] if standard else None, lines=lines or None)
    if peaks:
        saved(bl.save(table, peaks, overwrite=overwrite), table)
    saved(bl.save(cells, output, overwrite=overwrite), cells)


@app.command(epilog="[bold]Example:[/] batlab report patterns.nc cells.nc -o cell.html --title 'Cell 7, first charge'")
@reported
def report(
    files: Annotated[list[Path], typer.Argument(metavar="RESULT...", help="Patterns, cells, peaks, records, events.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file.")],
    title: Annotated[str | None, typer.Option(help="Title of the report.")] = None,
    marks: Annotated[Path | None, typer.Option(help="Store of marks; by default the ones beside the results.")] = None,
    overwrite: Overwrite = False,
    hint: Hint = None,
    debug: Debug = False,
) -> None:
    """Write results to one HTML file that opens anywhere, without a network."""
    import batlab as bl
    from batlab.cli.describe import marks_beside

    results = [_open([str(file)], hint) for file in files]
    found = marks_beside([marks] if marks else files, must_exist=marks is not None)
    saved(bl.report.write(output, *results, title=title, marks=found, overwrite=overwrite))


@app.command(epilog="[bold]Example:[/] batlab demo demo --frames 200")
@reported
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path("demo"),
    n_frames: Annotated[int, typer.Option("--frames", min=20, help="Frames to simulate.")] = 200,
    detector: Annotated[str, typer.Option(help="eiger1m, eiger4m or small.")] = "eiger1m",
    seed: Annotated[int, typer.Option(help="Seed of the counting noise.")] = 0,
    debug: Debug = False,
) -> None:
    """Show the whole path on a simulated cell, and on the LiCoVO4 data where they are at hand."""
    from batlab.cli import demo as steps

    steps.run(folder, n_frames=n_frames, detector=detector, seed=seed)


def _open(files: list[str], hint: list[str] | None) -> Any:
    import batlab as bl
    from batlab.cli.messages import hints

    return bl.open(files[0] if len(files) == 1 else files, **hints(hint or []))
