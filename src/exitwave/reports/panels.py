"""One picture each, drawn on given axes: images with scale bar and colour bar, positions, history, ring correlation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.estimate import PtychoEstimate
from exitwave.io.colour import STEPS, colour_wheel, complex_to_rgb, cyclic_colours
from exitwave.reports.formatting import length, length_unit, nice_lengths, number, pixels, scale_bar_m
from exitwave.reports.views import View, contrast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure, SubFigure

    from exitwave.evaluation.resolution import RingCorrelation

BLUE, ORANGE, GREY = "#3b82c4", "#d9730d", "#858b94"
"""Readable on white and on black."""
SIGNED = "coolwarm"
"""Colours of what may be positive or negative; grey, not white, at zero, so that it stands out from the page."""
MOST_VECTOR_POINTS = 1000
"""More positions than this are drawn as one raster image, which keeps the page small."""


def draw_amplitude(axes: Axes, view: View, colours: str | Colormap = "gray") -> None:
    """Amplitude in grey, dark is low."""
    draw_image(
        axes,
        view.amplitude,
        view.extent_m,
        colours,
        contrast(view.amplitude),
        size=pixels if view.in_pixels else length,
    )


def draw_phase(axes: Axes, view: View, colours: str | Colormap | None = None) -> None:
    """Unwrapped phase in radians; on the cyclic colours where it cannot be unwrapped."""
    chosen = colours or (cyclic_map() if view.wrapped else "viridis")
    limits = (-np.pi, np.pi) if view.wrapped else contrast(view.phase)
    draw_image(axes, view.phase, view.extent_m, chosen, limits, unit="rad", size=pixels if view.in_pixels else length)


def draw_map(axes: Axes, view: View, name: str, colours: str | Colormap | None = None) -> None:
    """One of the maps of a view, positive red and negative blue; `name` is that of one that is there."""
    (chosen,) = (each for each in view.maps if each.name == name)
    most = max(map(abs, contrast(chosen.values, 1, 99)))
    draw_image(axes, chosen.values, view.extent_m, colours or SIGNED, (-most, most), unit=chosen.unit)


def draw_image(
    axes: Axes,
    values: Float[np.ndarray, "y x"],
    extent_m: tuple[float, float, float, float],
    colours: str | Colormap,
    limits: tuple[float, float],
    *,
    unit: str = "",
    decades: bool = False,
    size: Callable[[float], str] = length,
) -> None:
    """A real image with scale bar and colour bar; NaN is left empty. `extent_m`: left, right, bottom, top.

    Where `decades`, values are powers of ten. `size` puts the scale bar into words, of an image whose axes are no lengths.
    """
    axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], extent=extent_m, interpolation="none")
    _frame(axes)
    draw_scale_bar(axes, size)
    _colour_bar(axes, colours, limits, unit, decades=decades)


def draw_counts(axes: Axes, counts: Float[np.ndarray, "y x"]) -> None:
    """Photons on the detector's pixels on a logarithmic scale, with a colour bar; NaN, what is masked, is left empty."""
    from matplotlib.colors import LogNorm

    lit = counts[counts > 0]
    top = float(lit.max()) if lit.size else 1.0
    # What is dimmer than a millionth of the brightest pixel would leave no colours for the rest.
    low = max(float(np.quantile(lit, 0.02)) if lit.size else 0.1, 1e-6 * top)
    shown = axes.imshow(
        np.where(counts >= 0, np.clip(counts, low, None), np.nan),
        norm=LogNorm(low, max(top, 1.01 * low)),
        cmap="inferno",
        interpolation="none",
    )
    _frame(axes)
    _, width_in = _size_in(axes)
    bar = axes.inset_axes((1 + 0.09 / width_in, 0.0, 0.13 / width_in, 1.0))
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.colorbar(shown, cax=bar)


def draw_complex(
    axes: Axes,
    image: Complex[np.ndarray, "y x"],
    extent_m: tuple[float, float, float, float],
    *,
    brightest: float | None = None,
    size: Callable[[float], str] = length,
) -> None:
    """A complex image, hue = phase and brightness = amplitude, with scale bar and colour wheel; NaN is left empty."""
    rgb = complex_to_rgb(image, brightest=brightest)
    alpha = np.where(np.isfinite(image), 255, 0).astype(np.uint8)
    axes.imshow(np.concatenate([rgb, alpha[..., None]], axis=-1), extent=extent_m, interpolation="none")
    _frame(axes)
    draw_scale_bar(axes, size)
    _colour_wheel(axes)


def draw_scale_bar(axes: Axes, size: Callable[[float], str] = length) -> None:
    """A bar of sensible length with its length in words, at the lower left of an image whose axes are in metres."""
    from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar

    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    width_m = scale_bar_m(abs(right - left))
    bar = AnchoredSizeBar(
        axes.transData,
        width_m,
        size(width_m),
        "lower left",
        pad=0.4,
        borderpad=0.6,
        sep=3,
        color="white",
        size_vertical=0.012 * abs(top - bottom),  # pyright: ignore[reportArgumentType]  # its type stub says int
        fill_bar=True,
        label_top=True,
    )
    # Readable on bright and on dark parts of the image.
    bar.patch.set(facecolor="#000000a0", edgecolor="none")
    axes.add_artist(bar)


def draw_positions(
    axes: Axes,
    estimate: PtychoEstimate,
    pixel_m: tuple[float, float],
    frame_residual: Float[Tensor, " frame"] | None,
    view: View,
) -> None:
    """Where the probe stood, over the object's amplitude; coloured by the residual of each frame where it is known."""
    from matplotlib.colors import Normalize

    half_window = np.asarray(estimate.probe.shape[-2:]) / 2
    centres = (estimate.positions_px.detach().cpu().numpy() + half_window) * np.asarray(pixel_m)
    draw_faint(axes, view)
    residual = None if frame_residual is None else frame_residual.detach().cpu().numpy()
    limits = (0.0, 1.0) if residual is None else contrast(residual, 1, 99)
    axes.scatter(
        centres[:, 1],
        centres[:, 0],
        s=float(np.clip(5500 / max(len(centres), 1), 1.5, 24)),
        c=BLUE if residual is None else residual,
        cmap=None if residual is None else "plasma",
        norm=None if residual is None else Normalize(*limits),
        linewidths=0.3,
        edgecolors="#00000080",
        rasterized=len(centres) > MOST_VECTOR_POINTS,
    )
    finish_map(axes, None if residual is None else "plasma", limits)


def draw_faint(axes: Axes, view: View) -> None:
    """The object's amplitude in middle greys only, so that points of any colour stand out over it."""
    low, high = contrast(view.amplitude)
    room = high - low
    axes.imshow(
        view.amplitude, cmap="gray", vmin=low - 0.6 * room, vmax=high + room, extent=view.extent_m, interpolation="none"
    )


def finish_map(axes: Axes, colours: str | None, limits: tuple[float, float], unit: str = "") -> None:
    """Frame, scale bar and colour bar of a map of frames."""
    _frame(axes)
    draw_scale_bar(axes)
    if colours is not None:
        _colour_bar(axes, colours, limits, unit)


def draw_history(
    axes: Axes, history: Sequence[float], *, residual: float = float("nan"), free_residual: float | None = None
) -> None:
    """The residual met in each epoch on a logarithmic scale, and those of the final estimate."""
    values = np.asarray(history, dtype=float)
    values = np.where(values > 0, values, np.nan)
    marker = "o" if len(values) < 15 else ""
    axes.plot(
        np.arange(1, len(values) + 1), values, color=BLUE, marker=marker, markersize=3.5, label="met in each epoch"
    )
    for value, name, colour, dashes in (
        (residual, "final estimate", GREY, (0, (4, 3))),
        (float("nan") if free_residual is None else free_residual, "held-out pixels", ORANGE, (0, (1, 1.5))),
    ):
        if value > 0:
            axes.axhline(value, color=colour, linestyle=dashes, label=f"{name}: {number(value)}")
    finish_history(axes, "epoch")
    axes.legend(frameon=False)


def draw_losses(axes: Axes, losses: Sequence[tuple[float, float]]) -> None:
    """The loss of a network in each epoch of its training, and that on groups held out, on a logarithmic scale."""
    values = np.asarray(losses, dtype=float).reshape(-1, 2)
    values = np.where(values > 0, values, np.nan)
    marker = "o" if len(values) < 15 else ""
    for column, name, colour in ((0, "training", BLUE), (1, "held out", ORANGE)):
        if np.isfinite(values[:, column]).any():
            epochs = np.arange(1, len(values) + 1)
            axes.plot(epochs, values[:, column], color=colour, marker=marker, markersize=3.5, label=name)
    finish_history(axes, "epoch")
    axes.legend(frameon=False)


def finish_history(axes: Axes, label: str) -> None:
    """Scales, ticks and labels for residuals over epochs or time."""
    from matplotlib.ticker import MaxNLocator

    axes.set_yscale("log")
    _few_log_ticks(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=label == "epoch", nbins=6))
    axes.set_xlabel(label)
    axes.set_ylabel("residual")
    _grid(axes)


def draw_ring_correlation(
    figure: Figure | SubFigure, axes: Axes, curve: RingCorrelation, pixel_m: tuple[float, float] | None
) -> None:
    """Fourier ring correlation with its thresholds, over frequency (below) and, where the pixel is known, half-period length
    (above)."""
    axes.plot(curve.frequency, curve.correlation, color=BLUE, label="correlation")
    axes.plot(curve.frequency[1:], curve.half_bit[1:], color=ORANGE, linestyle="--", label="half-bit")
    axes.plot(curve.frequency[1:], curve.one_bit[1:], color=ORANGE, linestyle=":", label="one-bit")
    axes.axhline(0.5, color=GREY, linestyle="--", linewidth=0.8, label="0.5")
    axes.axhline(1 / 7, color=GREY, linestyle=":", linewidth=0.8, label="1/7")
    crossing = curve.crossing(curve.half_bit)
    if crossing < 1:
        axes.axvline(crossing, color=ORANGE, linewidth=0.8)
    finish_rings(axes, lowest=float(curve.correlation.min()) - 0.05)
    figure.legend(frameon=False, loc="outside lower center", ncols=5, columnspacing=1.2)
    if pixel_m is not None:
        _half_period_axis(axes, max(pixel_m))


def finish_rings(axes: Axes, *, lowest: float = -0.05) -> None:
    """Scales and labels for ring correlations."""
    axes.set(xlim=(0, 1), ylim=(min(-0.05, lowest), 1.05))
    axes.set_xlabel("spatial frequency / Nyquist")
    axes.set_ylabel("correlation")
    _grid(axes)


def _half_period_axis(axes: Axes, pixel_m: float) -> None:
    """The lengths that belong to spatial frequencies, along the top; half a period is one pixel at Nyquist."""
    chosen = [pixel_m]
    for half_period in nice_lengths(pixel_m):
        if pixel_m / chosen[-1] - pixel_m / half_period > 0.11:
            chosen.append(half_period)
    scale, unit = length_unit(pixel_m)
    above = axes.secondary_xaxis("top")
    above.set_xticks([pixel_m / each for each in chosen], [number(each / scale) for each in chosen])
    above.set_xlabel(f"half period ({unit})")


def finish_curve(axes: Axes, across: str, up: str) -> None:
    """Labels and grid of a plain curve."""
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    _grid(axes)


def cyclic_map() -> Colormap:
    """The phase colours as a matplotlib colour map from -pi to pi."""
    from matplotlib.colors import ListedColormap

    return ListedColormap(np.roll(cyclic_colours(), STEPS // 2, axis=0), name="phase")


def _frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#80808030")
    for spine in axes.spines.values():
        spine.set_linewidth(0.4)


def _grid(axes: Axes) -> None:
    axes.grid(color=GREY, alpha=0.3, linewidth=0.5)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)


def _few_log_ticks(axes: Axes) -> None:
    """Plain numbers at 1, 2 and 5 in every decade where the axis spans few of them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_ylim()
    if not 0 < low < high < 300 * low:
        return
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _colour_bar(
    axes: Axes, colours: str | Colormap, limits: tuple[float, float], unit: str, *, decades: bool = False
) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    height_in, width_in = _size_in(axes)
    bar = axes.inset_axes((1 + 0.09 / width_in, 0.0, 0.13 / width_in, 1.0))
    ramp = np.linspace(*limits, STEPS)[:, None]
    bar.imshow(ramp, cmap=colours, extent=(0, 1, *limits), origin="lower", aspect="auto", interpolation="none")
    bar.set_xticks([])
    bar.yaxis.tick_right()
    if limits == (-np.pi, np.pi):
        bar.set_yticks([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], ["−π", "−π/2", "0", "π/2", "π"])
    elif decades:
        powers = range(math.ceil(limits[0]), math.floor(limits[1]) + 1)
        bar.set_yticks([*powers], [number(10.0**power) if -2 < power < 4 else f"$10^{{{power}}}$" for power in powers])
    else:
        power = _power_of_ten(max(map(abs, limits)))
        bar.yaxis.set_major_locator(MaxNLocator(int(np.clip(3 * height_in, 1, 6)), steps=[1, 2, 2.5, 5, 10]))
        bar.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10.0**power:.4g}"))
        unit = f"$\\times\\,10^{{{power}}}$ {unit}" if power else unit
    bar.yaxis.set_label_position("right")
    bar.set_ylabel(unit.strip(), labelpad=3)
    for spine in bar.spines.values():
        spine.set_linewidth(0.4)


def _power_of_ten(largest: float) -> int:
    """The power of ten to write apart so that ticks stay short; 0 for values that are short as they are."""
    return 0 if largest == 0 or 0.05 <= largest < 5000 else math.floor(math.log10(largest))


def _colour_wheel(axes: Axes) -> None:
    height_in, width_in = _size_in(axes)
    size_in, words_in = 0.42, 0.17
    bottom = max(1 - (size_in + words_in) / height_in, 0.5 - size_in / 2 / height_in)
    wheel = axes.inset_axes((1 + 0.1 / width_in, bottom, size_in / width_in, size_in / height_in))
    wheel.imshow(colour_wheel(96), extent=(-1, 1, -1, 1), interpolation="none")
    wheel.axis("off")
    wheel.text(1.15, 0, "0", ha="left", va="center")
    wheel.text(0, 1.2, "π/2", ha="center", va="bottom")
    wheel.text(0, -1.2, "−π/2", ha="center", va="top")


def _size_in(axes: Axes) -> tuple[float, float]:
    """Height and width of an image on paper, inches."""
    axes.apply_aspect()
    return axes.bbox.height / axes.figure.dpi, axes.bbox.width / axes.figure.dpi
