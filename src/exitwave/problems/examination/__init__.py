"""The examination of a measurement before it is reconstructed: what is wrong with it, cured where there is one safe cure."""

from exitwave.problems.examination.course import EXAMINED, Examination, examine, findings_of

__all__ = ["EXAMINED", "Examination", "examine", "findings_of"]
