"""What a scientist checks first in a measurement, and what looks wrong, with the cure; by kind."""

from exitwave.problems.inspection.figures import (
    Inspection,
    ScanInspection,
    inspect,
    look,
    probe_diameter_px,
    suspicions,
)
from exitwave.problems.inspection.rocking import RockingInspection

__all__ = ["Inspection", "RockingInspection", "ScanInspection", "inspect", "look", "probe_diameter_px", "suspicions"]
