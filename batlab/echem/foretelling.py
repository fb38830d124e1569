"""A model of life from early features, with an interval, and the limits within which it was taught."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from scipy.stats import t as student

from batlab.errors import SchemaError, choose
from batlab.schema import quantity, record

FUNCTION = "echem.early_warning"
CONDITIONS = {"voltage_upper": 0.05, "voltage_lower": 0.05, "c_rate_charge": 0.2, "c_rate_discharge": 0.2}
MARGIN = 0.1  # of the range of a feature, by which it may be exceeded
LIFE_FACTOR = 1.5  # beyond the lives taught: not foretold
SPARE = 3  # cells more than parameters: fewer leave no honest interval


@dataclass(frozen=True)
class LifeModel:
    """Linear model of log10(life) in features, as `life_model` teaches it.

    Attributes
    ----------
    names
        Features used.
    center, scale
        What each feature is shifted and divided by.
    coefficients
        Intercept and one number a feature, of log10 cycles.
    inverse
        (XᵀX)⁻¹ of the cells taught.
    sigma
        Standard deviation of the residuals, log10.
    error
        Root mean square of what each cell's life is missed by when it is left out, log10.
    n_cells, ranges, lives, pair
        How many cells, (low, high) of features and conditions, of lives, and the cycles compared.
    """

    names: tuple[str, ...]
    center: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    inverse: np.ndarray
    sigma: float
    error: float
    n_cells: int
    most_leverage: float
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    lives: tuple[float, float] = (0.0, 0.0)
    pair: tuple[int, int] = (10, 100)

    def __str__(self) -> str:
        terms = " ".join(
            f"{value:+.3g} {name}/{scale:.3g}"
            for value, name, scale in zip(self.coefficients[1:], self.names, self.scale)
        )
        return (
            f"log10(life) = {self.coefficients[0]:.4g} {terms} about the mean of {self.n_cells} cells; residuals "
            f"{self.sigma:.3g}, left-out cells {self.error:.3g}; lives {self.lives[0]:g} to {self.lives[1]:g} cycles"
        )


def life_model(
    features: Sequence[xr.Dataset], lives: Sequence[float], *, use: Sequence[str] = ("delta_q_log_variance",)
) -> LifeModel:
    """Return a linear model of log10(life) taught by cells whose life is known.

    Ordinary least squares. The model knows nothing but these cells: chemistry, temperature and protocol must be
    theirs. It is as good as ``error`` says, which leaves out one cell at a time.

    Parameters
    ----------
    features
        From `early_features`, all with the same ``pair``.
    lives
        Life of each cell in cycles (from `life`, for instance).
    use
        Features that enter; few, as three cells more than parameters are needed and more make honest intervals.

    Raises
    ------
    ValueError, SchemaError
        Unequal numbers, too few cells, an unknown or infinite feature, lives that are not positive.

    Examples
    --------
    >>> cells = [xr.Dataset({"f": quantity((), -5.0 + 0.2 * k, "1", "f")}, attrs={"pair": [10, 100]}) for k in range(8)]
    >>> model = life_model(cells, [10 ** (3 - 0.1 * k) for k in range(8)], use=["f"])
    >>> round(float(model.coefficients[1] / model.scale[0]), 6), model.sigma < 1e-9
    (-0.5, True)
    """
    known = np.asarray(lives, dtype=float)
    if len(features) != len(known) or len(known) < len(use) + 1 + SPARE:
        raise ValueError(
            f"echem.life_model needs {len(use) + 1 + SPARE} cells or more for {len(use)} features and one life each, "
            f"got {len(features)} cells and {len(known)} lives"
        )
    if not (np.isfinite(known) & (known > 0)).all():
        raise ValueError(f"lives must be positive numbers of cycles, got {list(lives)!r}")
    pairs = {(int(one.attrs["pair"][0]), int(one.attrs["pair"][1])) for one in features}
    if len(pairs) > 1:
        raise SchemaError(f"echem.life_model needs features of one pair of cycles, got {sorted(pairs)}")
    raw = np.array([_values(one, use, "echem.life_model") for one in features])
    center, scale = raw.mean(axis=0), raw.std(axis=0)
    if not (scale > 0).all():
        raise ValueError(f"feature {list(use)[int(np.argmin(scale))]!r} is the same for all cells; leave it out")
    design = np.column_stack([np.ones(len(raw)), (raw - center) / scale])
    target = np.log10(known)
    inverse = np.linalg.pinv(design.T @ design)
    coefficients = inverse @ design.T @ target
    residual = target - design @ coefficients
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    sigma = float(np.sqrt(residual @ residual / (len(known) - design.shape[1])))
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = residual / (1 - leverage)
    ranges = {
        name: (float(column.min()), float(column.max()))
        for name in (*use, *CONDITIONS)
        if all(name in one for one in features)
        for column in [np.array([float(one[name]) for one in features])]
    }
    return LifeModel(
        tuple(use), center, scale, coefficients, inverse, sigma, float(np.sqrt(np.mean(left_out**2))), len(known),
        float(leverage.max()), ranges, (float(known.min()), float(known.max())), next(iter(pairs)),
    )  # fmt: skip


def _values(one: xr.Dataset, use: Sequence[str], function: str) -> list[float]:
    for name in use:
        choose("use", name, [str(key) for key, data in one.data_vars.items() if data.ndim == 0])
        if not np.isfinite(float(one[name])):
            raise ValueError(f"{function}: feature {name!r} is {float(one[name])}; the record does not tell it")
    return [float(one[name]) for name in use]


def early_warning(features: xr.Dataset, model: LifeModel, *, level: float = 0.9, outside: str = "refuse") -> xr.Dataset:
    """Return the life that a model foretells from early features, with a prediction interval.

    log10(life) ± t σ √(1 + h), h being the leverage, of a new cell like those taught. It holds where the model was
    taught: features within their range and 10 % more, leverage up to half above the largest taught, cut-offs within
    50 mV, C-rates within 20 %, the same pair of cycles, and a life at most 1.5 times beyond those taught. All of that
    is checked; chemistry, temperature and the way a cell fails are not in the features and cannot be.

    Parameters
    ----------
    features
        From `early_features`.
    model
        From `life_model`.
    level
        Of the interval, 0 to 1.
    outside
        ``"refuse"`` raises outside of the range of validity; ``"warn"`` warns and says so in ``is_valid``.

    Returns
    -------
    xarray.Dataset
        Scalars ``life``, ``life_low``, ``life_high`` [cycles], ``leverage``, ``is_valid``; attributes ``validity``
        (the range, in words), ``reasons`` (what is outside), ``model``.

    Raises
    ------
    ValueError
        Outside of the range of validity, with each reason; an unknown word.

    Warns
    -----
    UserWarning
        The same, with ``outside="warn"``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cells = [xr.Dataset({"f": quantity((), -5.0 + 0.2 * k, "1", "f")}, attrs={"pair": [10, 100]}) for k in range(8)]
    >>> model = life_model(cells, [10 ** (3 - 0.1 * k + rng.normal(0, 0.02)) for k in range(8)], use=["f"])
    >>> said = early_warning(cells[3], model)
    >>> bool(said.life_low < 10**2.7 < said.life_high)
    True
    """
    choose("outside", outside, ("refuse", "warn"))
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level!r}")
    raw = np.array(_values(features, model.names, FUNCTION))
    row = np.concatenate([[1.0], (raw - model.center) / model.scale])
    middle = float(row @ model.coefficients)
    leverage = float(row @ model.inverse @ row)
    reach = student.ppf(0.5 + level / 2, model.n_cells - len(row)) * model.sigma * np.sqrt(1 + leverage)
    reasons = _outside(features, model, leverage, 10**middle)
    if reasons:
        told = f"{FUNCTION}: the model does not hold here: {'; '.join(reasons)}"
        if outside == "refuse":
            raise ValueError(f"{told}. Teach it with such cells, or pass outside='warn'")
        warnings.warn(told, UserWarning, stacklevel=2)
    numbers = {
        "life": (10**middle, "foretold life, cycles"),
        "life_low": (10 ** (middle - reach), f"lower limit of the {100 * level:g} % prediction interval"),
        "life_high": (10 ** (middle + reach), f"upper limit of the {100 * level:g} % prediction interval"),
        "leverage": (leverage, "distance from the cells taught"),
        "is_valid": (int(not reasons), "whether the model holds here"),
    }
    result = xr.Dataset({name: quantity((), value, "1", told) for name, (value, told) in numbers.items()})
    ranges = "; ".join(f"{name} {low:.4g} to {high:.4g}" for name, (low, high) in model.ranges.items())
    result.attrs = {
        "validity": f"cells like the {model.n_cells} taught, cycles {model.pair[0]} and {model.pair[1]}; {ranges}; "
        f"lives {model.lives[0]:g} to {model.lives[1]:g}",
        "reasons": "; ".join(reasons),
        "model": str(model),
        **{name: features.attrs[name] for name in ("source", "source_sha256", "history") if name in features.attrs},
    }
    return record(result, FUNCTION, model=str(model), level=level, outside=outside)


def _outside(features: xr.Dataset, model: LifeModel, leverage: float, life: float) -> list[str]:
    """Return in words what lies outside of the range of validity."""
    reasons = []
    pair = tuple(int(label) for label in features.attrs["pair"])
    if pair != model.pair:
        reasons.append(f"cycles {pair[0]} and {pair[1]} instead of {model.pair[0]} and {model.pair[1]}")
    for name, (low, high) in model.ranges.items():
        if name not in features:
            reasons.append(f"{name} is not known")
            continue
        value = float(features[name])
        if name not in CONDITIONS:
            margin = MARGIN * (high - low)
            inside = low - margin <= value <= high + margin
        elif name.startswith("c_rate"):
            inside = low * (1 - CONDITIONS[name]) <= value <= high * (1 + CONDITIONS[name])
        else:
            inside = low - CONDITIONS[name] <= value <= high + CONDITIONS[name]
        if not inside:
            reasons.append(f"{name} {value:.4g} outside {low:.4g} to {high:.4g}")
    if leverage > 1.5 * model.most_leverage:
        reasons.append(f"leverage {leverage:.2g} beyond {model.most_leverage:.2g} of the cells taught")
    if not model.lives[0] / LIFE_FACTOR <= life <= model.lives[1] * LIFE_FACTOR:
        reasons.append(f"life {life:.4g} beyond {model.lives[0]:g} to {model.lives[1]:g}")
    return reasons
