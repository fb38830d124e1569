"""X-ray absorption: XANES and EXAFS of single spectra and of whole series."""

from batlab.lazy import names as _names

# Public name -> module that holds it: one line a name.
_HOMES: dict[str, str] = {
    "deglitch": "glitches",
    "rebin": "rebinning",
    "merge": "merging",
    "wavelet": "wavelets",
    "remove_background": "background",
    "noise": "fourier",
    "ft_window": "windows",
    "fourier_transform": "fourier",
    "back_transform": "fourier",
    "mu": "absorption",
    "edge_energy": "edge",
    "fit_shells": "shells",
    "Variable": "shells_parameters",
    "ShellFit": "shells",
    "Shell": "shells_parameters",
    "normalize": "normalization",
    "path_chi": "paths",
    "einstein_sigma2": "einstein",
    "align_energy": "alignment",
    "over_absorption": "self_absorption",
    "white_line": "first_maximum",
    "mback": "matched_background",
    "pre_edge_peaks": "pre_edge_fit",
    "valence": "calibration_line",
    "calibrate_pixels": "dispersive",
    "pixels_to_energy": "dispersive",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605
__getattr__, __dir__ = _names(__name__, _HOMES)
