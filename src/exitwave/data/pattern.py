"""A measurement of coherent diffraction imaging (CDI): one pattern of an isolated object."""

from dataclasses import dataclass

from exitwave.data.errors import InputError
from exitwave.data.measurement import Measurement


@dataclass(frozen=True, kw_only=True, eq=False)
class Pattern(Measurement):
    """One diffraction pattern of an isolated object in an even beam (coherent diffraction imaging, CDI).

    `patterns` is a stack of this one frame, or the frame alone. Raises InputError for any other number of frames.
    """

    def __post_init__(self) -> None:
        if getattr(self.patterns, "ndim", 3) == 2:
            self._store("patterns", self.patterns[None])  # pyright: ignore[reportIndexIssue]
        super().__post_init__()
        if len(self) != 1:
            raise InputError(
                f"one pattern of an isolated object is asked for but there are {len(self)} frames; take one of them "
                "(preparation step select=0:1), or give their positions: then they are a scan"
            )

    @property
    def object_pixel_m(self) -> tuple[float, float]:
        """Pixel size (y, x) of the object that will be reconstructed."""
        return self.geometry.object_pixel_m(self.frame_shape)

    @property
    def title(self) -> str:
        return "one pattern of an isolated object"

    @property
    def layout(self) -> tuple[int, ...]:
        return self.frame_shape
