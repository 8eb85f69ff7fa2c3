"""Simulated probes: what discs, focusing mirrors, zone plates and multilayer lenses put onto the sample.

Probes are complex images centred at [h // 2, w // 2] whose summed |probe|^2 is `photons`. All lengths are in pixels of the
object; `Geometry.object_pixel_m` tells how long one is.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.physics.fourier import frequencies, ifft2, to_centre

Probe = Complex[Tensor, "y x"]
Aberrations = Mapping[int, float]
"""Noll index of a Zernike polynomial -> waves (root mean square over the circular pupil)."""
SAMPLES = 5
"""Sub-pixels per axis that a pupil's edge is averaged over."""


def disc(shape: tuple[int, int], *, diameter_px: float, edge_px: float = 2.0, photons: float = 1.0) -> Probe:
    """A pinhole right in front of the sample: even light and flat phase within `diameter_px`, an edge `edge_px` wide."""
    y, x = _pixels(shape, diameter_px)
    inside = ((diameter_px / 2 - torch.hypot(y, x)) / edge_px + 0.5).clamp(0, 1)
    return _normalised(inside, photons)


def gaussian(shape: tuple[int, int], *, diameter_px: float, photons: float = 1.0) -> Probe:
    """A laser-like beam with flat phase; `diameter_px` is where its intensity has fallen to 1/e^2."""
    y, x = _pixels(shape, diameter_px)
    return _normalised(torch.exp(-(y.square() + x.square()) / (diameter_px / 2) ** 2), photons)


def airy(
    shape: tuple[int, int],
    *,
    diameter_px: float,
    defocus_px2: float = 0.0,
    aberrations: Aberrations | None = None,
    photons: float = 1.0,
) -> Probe:
    """The focus of an ideal round lens; `diameter_px` is that of the first dark ring (1.22 wavelength / aperture angle)."""
    _pixels(shape, diameter_px)
    radius = 1.2196699 / diameter_px
    return from_pupil(
        lambda fy, fx: torch.hypot(fy, fx) <= radius,
        shape,
        reach=radius,
        defocus_px2=defocus_px2,
        aberrations=aberrations,
        photons=photons,
    )


def zone_plate(
    shape: tuple[int, int],
    *,
    diameter_px: float,
    aperture: float = 0.35,
    central_stop: float = 0.3,
    defocus_px2: float | None = None,
    aberrations: Aberrations | None = None,
    photons: float = 1.0,
) -> Probe:
    """A Fresnel zone plate with a central stop, sample behind the focus: the usual probe of X-ray ptychography.

    `diameter_px` is the diameter of the defocused cone of light, `aperture` the radius of the pupil as a share of half the
    frame, `central_stop` its blocked share. A stated `defocus_px2` (see `from_pupil`) overrules the diameter; 0 is focus.
    """
    _pixels(shape, diameter_px)
    outer = _reach(aperture)
    # A defocus of c moves the ray of frequency f by c f pixels, hence the outermost by half the diameter.
    defocus = diameter_px / (2 * outer) if defocus_px2 is None else defocus_px2
    return from_pupil(
        lambda fy, fx: (torch.hypot(fy, fx) <= outer) & (torch.hypot(fy, fx) >= central_stop * outer),
        shape,
        reach=outer,
        defocus_px2=defocus,
        aberrations=aberrations,
        photons=photons,
    )


def kb(
    shape: tuple[int, int],
    *,
    diameter_px: float,
    defocus_px2: float = 0.0,
    aberrations: Aberrations | None = None,
    photons: float = 1.0,
) -> Probe:
    """A Kirkpatrick-Baez mirror pair in focus: sinc x sinc from a square pupil; `diameter_px` between its first zeros."""
    _pixels(shape, diameter_px)
    half = 1 / diameter_px
    return from_pupil(
        lambda fy, fx: (fy.abs() <= half) & (fx.abs() <= half),
        shape,
        reach=half * math.sqrt(2),
        defocus_px2=defocus_px2,
        aberrations=aberrations,
        photons=photons,
    )


def multilayer_laue(
    shape: tuple[int, int],
    *,
    diameter_px: float,
    aperture: tuple[float, float] = (0.35, 0.28),
    defocus_px2: float | None = None,
    aberrations: Aberrations | None = None,
    photons: float = 1.0,
) -> Probe:
    """A crossed pair of multilayer Laue lenses, sample behind the focus: a rectangle of light with Fresnel fringes.

    `diameter_px` is the mean side of the rectangle, `aperture` the pupil's half sides (y, x) as shares of half the frame.
    A stated `defocus_px2` (see `from_pupil`) overrules the diameter; 0 is focus.
    """
    _pixels(shape, diameter_px)
    half_y, half_x = _reach(aperture[0]), _reach(aperture[1])
    defocus = diameter_px / (half_y + half_x) if defocus_px2 is None else defocus_px2
    return from_pupil(
        lambda fy, fx: (fy.abs() <= half_y) & (fx.abs() <= half_x),
        shape,
        reach=math.hypot(half_y, half_x),
        defocus_px2=defocus,
        aberrations=aberrations,
        photons=photons,
    )


def from_pupil(
    pupil: Callable[[Tensor, Tensor], Tensor],
    shape: tuple[int, int],
    *,
    reach: float,
    defocus_px2: float = 0.0,
    aberrations: Aberrations | None = None,
    photons: float = 1.0,
) -> Probe:
    """The probe of a lens whose pupil is given as a function of spatial frequency (y, x), cycles per pixel.

    `reach` is the frequency at the rim of the circle over which Zernike polynomials are defined. `defocus_px2` is
    wavelength x distance behind the focus / pixel^2; negative lies before the focus.
    """
    if not 0 < reach < 0.5 * math.sqrt(2):
        raise InputError(
            f"the pupil reaches {reach:.3g} cycles per pixel; above 0.5 the frame cannot hold it: use a wider probe"
        )
    fy, fx = frequencies(shape)
    sub = (torch.arange(SAMPLES, dtype=torch.float64) + 0.5) / SAMPLES - 0.5
    lit = torch.zeros(shape, dtype=torch.float64)
    for dy in sub / shape[0]:
        for dx in sub / shape[1]:
            lit += pupil(fy + dy, fx + dx).to(torch.float64) / SAMPLES**2
    phase = -math.pi * defocus_px2 * (fy.square() + fx.square())
    for index, waves in (aberrations or {}).items():
        phase = phase + 2 * math.pi * waves * zernike(index, fy / reach, fx / reach)
    return _normalised(to_centre(ifft2(torch.polar(lit, phase.expand(shape)))), photons)


def zernike(index: int, y: Tensor, x: Tensor) -> Float[Tensor, "y x"]:
    """Zernike polynomial of a Noll index at points (y, x) of the unit disc: 4 defocus, 5-6 astigmatism, 7-8 coma, 11 spherical.

    Root mean square 1 over the disc; even indices go with the cosine, odd with the sine of the angle from the x axis.
    Noll, J. Opt. Soc. Am. 66, 207 (1976), eqs. 1-3 and table I. Raises InputError for an index below 1.
    """
    degree, order = _noll(index)
    radius, angle = torch.hypot(y, x), torch.atan2(y.expand(torch.broadcast_shapes(y.shape, x.shape)), x)
    radial = torch.zeros_like(radius)
    for k in range((degree - order) // 2 + 1):
        weight = math.factorial(degree - k) / (
            math.factorial(k) * math.factorial((degree + order) // 2 - k) * math.factorial((degree - order) // 2 - k)
        )
        radial += (-1) ** k * weight * radius ** (degree - 2 * k)
    if order == 0:
        return math.sqrt(degree + 1) * radial
    turn = torch.cos(order * angle) if index % 2 == 0 else torch.sin(order * angle)
    return math.sqrt(2 * (degree + 1)) * radial * turn


def _noll(index: int) -> tuple[int, int]:
    """Radial degree and angular order of a Noll index."""
    if index < 1:
        raise InputError(f"Zernike index {index}; Noll indices start at 1 (piston), 5 and 6 are astigmatism")
    degree = (math.isqrt(8 * index - 7) - 1) // 2
    place = index - degree * (degree + 1) // 2 - 1
    return degree, 2 * ((place + (degree + 1) % 2) // 2) + degree % 2


def coherent_modes(
    probe: Probe, count: int, *, fractions: Sequence[float] | None = None
) -> Complex[Tensor, "mode y x"]:
    """A partially coherent beam: the probe and its products with Hermite polynomials, orthogonal, sharing its photons.

    The first mode is the probe's own shape. `fractions` are the modes' shares of the photons; left out, each has 40 % of
    the one before. Hermite-Gauss modes of a partially coherent source: Thibault & Menzel, Nature 494, 68 (2013).
    """
    if count < 1 or (fractions is not None and (len(fractions) != count or min(fractions) <= 0)):
        raise InputError(
            f"{count} modes with shares {fractions}; expected at least one mode and a positive share for each"
        )
    shares = torch.tensor(fractions if fractions is not None else [0.4**k for k in range(count)], dtype=torch.float64)
    main = probe.to(torch.complex128)
    photons = main.abs().square().sum()
    y, x = (_bent_axis(main.abs().square() / photons, axis) for axis in (0, 1))
    orders = sorted(((total - k, k) for total in range(count) for k in range(total + 1)), key=sum)[:count]
    hermite = torch.special.hermite_polynomial_he
    raw = [main * hermite(y, m) * hermite(x, n) for m, n in orders]
    # QR, not SVD: the first mode stays the probe itself, each next one only loses what the earlier ones hold.
    basis, triangle = torch.linalg.qr(torch.stack(raw).flatten(1).T)
    basis = basis * torch.sgn(triangle.diagonal())
    modes = basis.T.reshape(count, *probe.shape) * (shares / shares.sum() * photons).sqrt()[:, None, None]
    return modes.to(torch.complex64)


def _bent_axis(weight: Float[Tensor, "y x"], axis: int) -> Float[Tensor, "y x"]:
    """Distance along an axis from the weighted mean, in standard deviations.

    It bends back to zero where the frame wraps: a jump there would throw light far out of the pupil.
    """
    size = weight.shape[axis]
    along = torch.arange(size, dtype=torch.float64).reshape((-1, 1) if axis == 0 else (1, -1))
    distance = torch.sin(2 * math.pi * (along - (along * weight).sum()) / size).expand(weight.shape)
    return distance / (distance.square() * weight).sum().sqrt()


PROBES: dict[str, Callable[..., Probe]] = {
    "disc": disc,
    "gaussian": gaussian,
    "airy": airy,
    "zone_plate": zone_plate,
    "kb": kb,
    "multilayer_laue": multilayer_laue,
}
"""Illuminations by the names used on the command line; all take `diameter_px` and `photons`."""


def _pixels(shape: tuple[int, int], diameter_px: float) -> tuple[Float[Tensor, "y 1"], Float[Tensor, "1 x"]]:
    """Distances (y, x) from the centre, after a check that the probe fits its frame."""
    if not 2 <= diameter_px <= min(shape):
        raise InputError(
            f"probe of {diameter_px:g} px in frames of {shape[0]} x {shape[1]} px; expected 2 px to the shorter side, "
            "half of it is usual: with less empty space around the probe the patterns are sampled too coarsely"
        )
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in shape)
    return y[:, None], x[None, :]


def _reach(aperture: float) -> float:
    """Frequency, cycles per pixel, of a share of half the frame."""
    if not 0 < aperture <= 1:
        raise InputError(f"aperture is {aperture:g}; expected its share of half the frame, above 0 and at most 1")
    return 0.5 * aperture


def _normalised(wave: Tensor, photons: float) -> Probe:
    wave = wave.to(torch.complex128)
    return (wave * (photons / wave.abs().square().sum()).sqrt()).to(torch.complex64)
