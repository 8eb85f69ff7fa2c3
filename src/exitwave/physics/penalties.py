"""Regularisation: penalties on the object, each with its descent direction."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Object = Complex[Tensor, "slice Y X"]


def total_variation(obj: Object, *, isotropic: bool = True, softness: float = 1e-3) -> tuple[Float[Tensor, ""], Object]:
    """Sum of the differences of neighbouring pixels, and its negative gradient -d / d conj(object).

    Differences are complex, so that amplitude and phase count together: isotropic sqrt(|dy|^2 + |dx|^2), anisotropic
    |dy| + |dx|. It flattens noise and keeps edges; below `softness` it is quadratic, so that it has a slope everywhere.
    Rudin, Osher & Fatemi, Physica D 60, 259 (1992).
    """
    down, across = torch.zeros_like(obj), torch.zeros_like(obj)
    down[:, :-1], across[:, :, :-1] = obj.diff(dim=1), obj.diff(dim=2)
    if isotropic:
        length = (_power(down) + _power(across) + softness**2).sqrt()
        value = (length - softness).sum()
        down, across = down / length, across / length
    else:
        lengths = [(_power(part) + softness**2).sqrt() for part in (down, across)]
        value = sum(((length - softness).sum() for length in lengths), start=torch.zeros((), device=obj.device))
        down, across = down / lengths[0], across / lengths[1]
    descent = down + across
    descent[:, 1:] -= down[:, :-1]
    descent[:, :, 1:] -= across[:, :, :-1]
    return value, descent / 2


def sparsity(obj: Object, *, softness: float = 1e-3) -> tuple[Float[Tensor, ""], Object]:
    """Sum of |object - 1|, the l1 norm of what differs from vacuum, and its negative gradient -d / d conj(object).

    It pulls to 1 what the data do not hold away from it: for thin features in an empty field. Quadratic below `softness`.
    """
    stands_out = obj - 1
    length = (_power(stands_out) + softness**2).sqrt()
    return (length - softness).sum(), -stands_out / (2 * length)


def _power(values: Tensor) -> Tensor:
    return torch.view_as_real(values).square().sum(dim=-1)
