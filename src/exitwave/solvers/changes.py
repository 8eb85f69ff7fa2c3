"""What is done to an estimate from outside between two epochs, and what follows for the images that a solver remembers."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from exitwave.data.estimate import PtychoEstimate

Images = tuple[Tensor, Tensor]
"""An object and a probe."""


class Change:
    """A change of the estimate that the solver did not make itself. Nothing follows for what a solver remembers, unless
    said in a subclass."""

    forgets_curvature: ClassVar[bool] = False
    """Whether what was learnt of curvature holds no longer."""

    def of_directions(self, values: Tensor, axes: tuple[int, int] = (-2, -1)) -> Tensor:
        """Velocities, gradients, exit waves: anything with the pixels of object or probe along these axes (y, x)."""
        return values

    def of_earlier(self, images: Images) -> Images:
        """An earlier estimate, which this one is compared with."""
        return images

    def of_anchor(self, images: Images) -> Images:
        """The estimate from which the velocity is counted when it is next looked at."""
        return self.of_earlier(images)


@dataclass(frozen=True)
class Shifted(Change):
    """Object and probe were moved together by whole pixels, (y, x)."""

    by: tuple[int, int]

    def of_directions(self, values: Tensor, axes: tuple[int, int] = (-2, -1)) -> Tensor:
        return values.roll(self.by, dims=axes)

    def of_earlier(self, images: Images) -> Images:
        return self.of_directions(images[0]), self.of_directions(images[1])


@dataclass(frozen=True, eq=False)
class Replaced(Change):
    """Another estimate took the place of the one before: earlier ones move along, or the change would be taken for velocity."""

    before: PtychoEstimate
    after: PtychoEstimate

    def of_earlier(self, images: Images) -> Images:
        old, new = (self.before.object, self.before.probe), (self.after.object, self.after.probe)
        moved = (
            image if a is b else image.to(b.device) + (b - a) for image, a, b in zip(images, old, new, strict=True)
        )
        return next(moved), next(moved)


@dataclass(frozen=True, eq=False)
class Constrained(Change):
    """A constraint was imposed on the estimate `x`: so it is where velocity is counted from, or what it takes away would be gone
    on with backwards.

    Earlier estimates obey it already. Curvature was learnt from steps without the constraint; with it a step along it would
    lead out again, and never to the best that obeys.
    """

    x: PtychoEstimate
    impose: Callable[[PtychoEstimate], PtychoEstimate]
    forgets_curvature: ClassVar[bool] = True

    def of_anchor(self, images: Images) -> Images:
        device = self.x.object.device
        anchor = self.impose(replace(self.x, object=images[0].to(device), probe=images[1].to(device)))
        return anchor.object, anchor.probe
