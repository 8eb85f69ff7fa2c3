"""The transform that pty-chi imports."""

from torch import Tensor

from torchvision.transforms import functional as functional


class GaussianBlur:
    """`functional.gaussian_blur` with its kernel kept."""

    def __init__(self, kernel_size, sigma=(0.1, 2.0)) -> None:
        self.kernel_size, self.sigma = kernel_size, sigma

    def __call__(self, image: Tensor) -> Tensor:
        return functional.gaussian_blur(image, self.kernel_size, self.sigma)
