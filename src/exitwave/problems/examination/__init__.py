"""The examination of a measurement before it is reconstructed: what is wrong with it, cured where there is one safe cure."""

# Kinds register their courses when they are imported.
from exitwave.problems.examination import frames_course as frames_course, rocking as rocking
from exitwave.problems.examination.course import Examination, examine
from exitwave.problems.examination.frames_course import Specimens
from exitwave.problems.examination.healthy import healthy
from exitwave.problems.examination.left_out import of_frames_left

__all__ = ["Examination", "Specimens", "examine", "healthy", "of_frames_left"]
