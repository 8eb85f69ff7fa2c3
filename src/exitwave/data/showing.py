"""How values show themselves in Python: a few lines of text, and in notebooks a picture."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Told:
    """A value that prints as a few lines for people, not as all its numbers."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # A dataclass writes a __repr__ with every number in it, unless its class has one.
        if "__repr__" not in vars(cls):
            cls.__repr__ = Told.__repr__

    def told(self) -> tuple[str, ...]:
        """The lines, the most important first."""
        return (type(self).__name__,)

    def __repr__(self) -> str:
        return "\n".join(self.told())

    def _repr_html_(self) -> str:
        first, *rest = map(escape, self.told())
        return f'<pre style="white-space: pre-wrap"><b>{first}</b>\n' + "\n".join(rest) + "</pre>"


class Shown(Told):
    """A value that can be drawn, too: `plot()` gives a figure, and notebooks show it below the lines."""

    def plot(self) -> Figure:
        """A matplotlib figure in the look of the report, as `exitwave.plot` draws it; no window opens.

        Notebooks show it; `value.plot().savefig("figure.pdf")` keeps it. Raises InputError where there is nothing to draw.
        """
        # By the package's front door: what draws stands in a layer above.
        import exitwave

        return exitwave.plot(self)

    def _repr_html_(self) -> str:
        from exitwave.data.errors import InputError

        try:
            figure = self.plot()
        except InputError:
            return super()._repr_html_()
        held = io.BytesIO()
        figure.savefig(held, format="png", dpi=110, bbox_inches="tight")
        picture = base64.b64encode(held.getvalue()).decode()
        return f'{super()._repr_html_()}<img style="max-width: 100%" src="data:image/png;base64,{picture}">'
