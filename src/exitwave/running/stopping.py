"""When a run ends before its solver does: goals that were reached."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Stop:
    """When to end before the solver does."""

    residual: float | None = None
    """As soon as the residual of an epoch is at or below this."""
    patience: int | None = None
    """After so many epochs without improvement of the residual by `least_gain`."""
    least_gain: float = 1e-3
    """Relative improvement that counts."""

    def reached(self, history: Sequence[float]) -> bool:
        """Whether a run with this history of residuals should end."""
        if not history:
            return False
        if self.residual is not None and history[-1] <= self.residual:
            return True
        if self.patience is None or len(history) <= self.patience:
            return False
        before = min(history[: -self.patience])
        return min(history[-self.patience :]) > before * (1 - self.least_gain)
