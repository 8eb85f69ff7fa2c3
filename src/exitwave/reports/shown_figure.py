"""A figure that notebooks show by itself, whether or not pyplot was imported."""

import io

from matplotlib.figure import Figure


class ShownFigure(Figure):
    """A matplotlib figure that stands alone: no window, nothing of pyplot's global state."""

    def _repr_png_(self) -> bytes:
        held = io.BytesIO()
        self.savefig(held, format="png", dpi=110, bbox_inches="tight")
        return held.getvalue()
