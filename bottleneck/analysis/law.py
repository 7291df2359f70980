"""A data-mixture law: a component's loss as a function of the mixture, fitted to a few mixtures that were trained.

Forms, r being the shares of the components and r_i the component's own:

    exponential  c + k exp(sum_j t_j r_j)               Ye et al. 2024 (Data Mixing Laws, arXiv:2403.16952), equation 1
    power        c + k r_i^-a                           Ge et al. 2024 (BiMix, arXiv:2405.14908), at one training length
    saturating   c + (h - c) / (1 + (r_i / m)^a)        from h, the loss of one who knows nothing, at 0 to c
    levels       the same, h fitted                     from what others teach of the component to its own teaching
    constant     c                                      the weights do not matter

At a fixed number of steps r_i is the component's number of draws but for a factor. The form is chosen by leave-one-out
over the fitted points, never by others; the two of the component's least and largest share are always kept, as a law
is for mixtures between those that were trained. All fits minimise the squares of the relative errors, with c, h and k
at least 0, so that a predicted loss is positive; Ye et al. use Huber's loss of the absolute ones.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from bottleneck.analysis.intervals import Interval, two_way
from bottleneck.errors import UserError

FORMS = ("constant", "power", "saturating", "exponential", "levels")
RANK = 1e-3  # directions in which the fitted shares differ by less than this, of the most, are a sampler's rounding
FLOORS = (0.0, 0.5, 0.95)  # of the smallest loss, where fits begin
ENOUGH = 1.1  # times the least error: of the forms that come so near the one of fewest parameters is taken
SIGMOIDS = ("saturating", "levels")
STEEPEST = 12.0  # by how many factors of e what lies above the floor may fall from one end of the points to the other


@dataclass(frozen=True)
class Law:
    """A fitted form. `parameters`: c; c, log k, t [d]; or c, a, log m, and h where it is fitted."""

    form: str
    own: int  # the component's place among the shares
    parameters: np.ndarray
    basis: np.ndarray  # [J, d], of the exponential form
    top: float  # the loss of one who knows nothing

    def __call__(self, shares) -> np.ndarray:
        """The loss [P] predicted at `shares` [P, J]; infinite where a power law meets a share of 0."""
        x = features(self.form, np.atleast_2d(np.asarray(shares, np.float64)), self.own, self.basis)
        return _curve(self.form, self.parameters, x, self.top)

    @property
    def said(self) -> dict[str, float | list[float]]:
        """The parameters by their names in the module's docstring; of the exponential form t up to a constant, which
        shares that sum to 1 cannot tell from k."""
        c, *rest = map(float, self.parameters)
        if self.form == "constant":
            return {"c": c}
        if self.form in SIGMOIDS:
            return {"c": c, "a": rest[0], "m": float(np.exp(rest[1])), "h": (*rest, self.top)[2]}
        k = float(np.exp(rest[0]))
        t = {"a": -rest[1]} if self.form == "power" else {"t": (self.basis @ rest[1:]).tolist()}
        return {"c": c, "k": k, **t}


@dataclass(frozen=True)
class Choice:
    """The law that was chosen, and the mean relative error of every form that was tried, each point left out once."""

    law: Law
    errors: dict[str, float]


def choose(shares, own: int, losses, top: float) -> Choice:
    """The form that predicts each of the fitted points between the outermost best from the others, fitted to all.

    `shares` [P, J] of rows that sum to 1, `losses` [P] above 0, `own` the component's place among the shares, `top` the
    loss of one who knows nothing. A form is tried where, with one point left out, there are as many as it has
    parameters. Raises UserError for fewer than two points, and for losses that are not above 0.
    """
    shares, losses = _checked(shares, losses)
    errors, inner = {}, np.setdiff1d(np.arange(len(losses)), [shares[:, own].argmin(), shares[:, own].argmax()])
    for form in FORMS if len(inner) else FORMS[:1]:
        if not _possible(form, shares, own):
            continue
        others = [(np.delete(shares, p, 0), own, np.delete(losses, p), top, shares) for p in inner]
        predicted = [float(fit(form, *each)(shares[p])[0]) for p, each in zip(inner, others)]
        errors[form] = float(np.abs(relative(predicted, losses[inner])).mean()) if len(inner) else np.nan
    enough = ENOUGH * min(errors.values()) + 1e-6
    best = next((form for form, error in errors.items() if error <= enough), FORMS[0])
    return Choice(fit(best, shares, own, losses, top), errors)


def fit(form: str, shares, own: int, losses, top: float, spanning=None) -> Law:
    """`form` fitted to `losses` [P] at `shares` [P, J]. `spanning`: shares whose differences span those to be met."""
    shares, losses = _checked(shares, losses, least=1)
    basis = (
        directions(shares if spanning is None else spanning)
        if form == "exponential"
        else np.zeros((shares.shape[1], 0))
    )
    x = features(form, shares, own, basis)
    best = None
    low, high = _bounds(form, x, losses, top)
    for floor in FLOORS if form != "constant" else FLOORS[:1]:
        found = optimize.least_squares(
            lambda theta: relative(_curve(form, theta, x, top), losses),
            np.clip(_start(form, x, losses, floor * losses.min(), top), low, high),
            bounds=(low, high),
            x_scale="jac",
            max_nfev=100,
        )
        if best is None or found.cost < best.cost * (1 - 1e-9):
            best = found
    return Law(form, own, best.x, basis, top)


def relative(predicted, measured) -> np.ndarray:
    """Signed relative errors (predicted - measured) / measured."""
    return (np.asarray(predicted) - np.asarray(measured)) / np.asarray(measured)


def directions(shares) -> np.ndarray:
    """[J, d] orthonormal directions along which rows of `shares` [P, J] differ."""
    centred = np.asarray(shares, np.float64) - np.mean(shares, axis=0)
    _, sizes, turned = np.linalg.svd(centred, full_matrices=False)
    return turned[sizes > max(RANK * sizes.max(initial=0.0), 1e-9)].T


def nearest(trained, shares) -> np.ndarray:
    """int [P]: which of `trained` [T, J] is the mixture nearest to each of `shares` [P, J], by Hellinger's distance."""
    apart = np.sqrt(np.asarray(shares))[:, None] - np.sqrt(np.asarray(trained))[None]
    return (apart**2).sum(-1).argmin(1)


def interpolated(trained, own: int, losses, shares) -> np.ndarray | None:
    """Losses [P] on a line between the two fitted points beside each, over the logarithm of the component's share, flat
    beyond the last ones; None where mixtures differ in more than one direction, or a share is 0."""
    x, at = np.asarray(trained, np.float64)[:, own], np.asarray(shares, np.float64)[:, own]
    if directions(trained).shape[1] != 1 or min(x.min(), at.min()) <= 0 or len(np.unique(x)) < len(x):
        return None
    order = np.argsort(x)
    return np.interp(np.log(at), np.log(x[order]), np.asarray(losses, np.float64)[order])


def jackknife(value: float, without, n_examples: int) -> Interval:
    """Interval of `value`, a function of means over S seeds, from what it is `without` [S] each of them (Tukey 1958).

    Conditional on the items. Infinitely wide where there are not at least two seeds.
    """
    value, without = float(value), np.asarray(without, np.float64)
    seeds = len(without)
    spread = two_way((value + (seeds - 1) * (value - without))[:, None]) if seeds > 1 else two_way([[value]])
    half = spread.high - spread.value if seeds > 1 else np.inf
    at = dict(value=value, low=value - half, high=value + half, unit="seeds", n_examples=n_examples)
    return dataclasses.replace(spread, **at)


def _checked(shares, losses, least: int = 2) -> tuple[np.ndarray, np.ndarray]:
    shares, losses = np.asarray(shares, np.float64), np.asarray(losses, np.float64)
    if shares.ndim != 2 or len(shares) != len(losses) or len(losses) < least:
        raise UserError("losses", losses.shape, f"at least {least}, one for each of the mixtures {shares.shape}")
    if not (losses > 0).all() or not np.isfinite(losses).all():
        raise UserError("losses", losses.tolist(), "numbers above 0: errors are relative to them")
    return shares, losses


def _possible(form: str, shares: np.ndarray, own: int) -> bool:
    """Whether there are as many points as parameters with one left out, what the form reads is finite and varies."""
    counts = {"constant": 1, "power": 3, "saturating": 3, "exponential": 2 + directions(shares).shape[1], "levels": 4}
    count = counts[form]
    varied = form == "constant" or (form == "exponential" and count > 2) or np.ptp(shares[:, own]) > 1e-9
    return len(shares) > count and varied and (form != "power" or shares[:, own].min() > 0)


def features(form: str, shares: np.ndarray, own: int, basis: np.ndarray) -> np.ndarray:
    """[P, d]: what a form reads of shares [P, J]."""
    if form == "exponential":
        return shares @ basis
    with np.errstate(divide="ignore"):
        return np.log(shares[:, own, None]) if form != "constant" else np.zeros((len(shares), 0))


def _curve(form: str, theta: np.ndarray, x: np.ndarray, top: float) -> np.ndarray:
    """The loss [P] at features [P, d]."""
    if form == "constant":
        return np.full(len(x), theta[0])
    if form in SIGMOIDS:
        level = theta[3] if form == "levels" else top
        return theta[0] + (level - theta[0]) * special.expit(-theta[1] * (x[:, 0] - theta[2]))
    return theta[0] + np.exp(theta[1] + x @ theta[2:])


def _start(form: str, x: np.ndarray, losses: np.ndarray, floor: float, top: float) -> np.ndarray:
    """Parameters from a straight line: above its floor the logarithm, or the logit, of the loss is linear."""
    if form == "constant":
        return np.array([losses.mean()])
    if form in SIGMOIDS:
        level = min(1.01 * losses.max(), top) if form == "levels" else top
        lost = np.clip((losses - floor) / max(level - floor, 1e-9), 1e-3, 1 - 1e-3)
        finite = np.isfinite(x[:, 0])
        slope, at = _line(x[finite], -special.logit(lost[finite]))
        steep = slope[0] if abs(slope[0]) > 0.05 else 0.05
        return np.array([floor, steep, -at / steep, *([level] if form == "levels" else [])])
    slope, at = _line(x, np.log(losses - floor))
    return np.array([floor, at, *slope])


def _line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Slope [d] and level at 0 of the least-squares line (of least norm) of `y` [P] over `x` [P, d]."""
    *slope, level = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), y, rcond=None)[0]
    return np.array(slope), float(level)


def _bounds(form: str, x: np.ndarray, losses: np.ndarray, top: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of the parameters: no floor above the losses, no slope beyond STEEPEST over the points."""
    floor = 1.01 * losses.max()
    if form == "constant":
        return np.zeros(1), np.full(1, floor)
    if form in SIGMOIDS:
        count = 4 if form == "levels" else 3
        return np.array([0.0, -40.0, -40.0, 0.0])[:count], np.array([floor, 40.0, 40.0, floor])[:count]
    steepest = STEEPEST / np.maximum(np.ptp(x, axis=0), 1e-9)
    level = np.log(losses.max()) + steepest @ np.abs(x).max(0)
    return np.array([0.0, -40.0 - level, *-steepest]), np.array([floor, 40.0 + level, *steepest])
