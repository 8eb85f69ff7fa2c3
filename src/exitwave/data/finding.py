"""What an examination finds in a measurement, in words, with what was done about it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Action = Literal["cured", "warned", "refused"]


@dataclass(frozen=True)
class Finding:
    """Something wrong with a measurement: what it is, what was done about it, and what the user can do."""

    name: str
    """The same for the same kind of fault, such as "stuck-pixels"."""
    message: str
    """What was found, with numbers, and what was done."""
    action: Action
    """cured: mended before the run; warned: said only; refused: the run stops unless the data are taken as they are."""
    cure: str = ""
    """What to do where nothing was done, as options of the command line; empty where nothing is left to do."""

    @property
    def line(self) -> str:
        """The finding in one line."""
        return f"{self.message}; {self.cure}" if self.cure else self.message

    def to_json(self) -> dict[str, Any]:
        """As plain names and words, as results keep it."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Finding":
        """From what `to_json` gives."""
        return cls(**{name: stored[name] for name in ("name", "message", "action", "cure")})
