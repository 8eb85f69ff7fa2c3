"""What an examination finds in a measurement, in words, with what was done about it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

_OPTION = re.compile(r"(?:.*, or )?(--[a-z][a-z-]*) (\S+)(?: to .*)?")
Action = Literal["cured", "warned", "refused"]
EXAMINED = "examination"
"""Where a provenance keeps what was found: a measurement is examined once."""
LEFT_OUT = "frames_left_out"
"""Where it keeps the numbers of the frames that were left out, as they were counted before."""
FRAMES_BEFORE = "frames_before"
"""And how many frames there were then."""


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

    @property
    def options(self) -> tuple[str, ...]:
        """The cure as words of a command line, where one option does it; empty where a person must decide."""
        found = _OPTION.fullmatch(self.cure)
        return (found[1], found[2]) if found else ()

    def to_json(self) -> dict[str, Any]:
        """As plain names and words, as results keep it."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Finding":
        """From what `to_json` gives."""
        return cls(**{name: stored[name] for name in ("name", "message", "action", "cure")})


def findings_of(provenance: Mapping[str, Any]) -> tuple[Finding, ...]:
    """The findings that a provenance keeps, of a measurement or a result."""
    return tuple(map(Finding.from_json, cast("list[Mapping[str, Any]]", provenance.get(EXAMINED, []))))
