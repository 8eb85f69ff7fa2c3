"""The examination of a measurement before it is reconstructed: what is wrong with it, cured where there is one safe cure."""

from exitwave.problems.examination.course import Examination, Specimens, examine
from exitwave.problems.examination.healthy import healthy
from exitwave.problems.examination.left_out import of_frames_left

__all__ = ["Examination", "Specimens", "examine", "healthy", "of_frames_left"]
