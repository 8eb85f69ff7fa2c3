"""Made data with known truth: samples, probes, scans and detectors; the truth never travels with the scan."""

from exitwave.simulation.detection import PTYINR_NOISE, Detection
from exitwave.simulation.measure import Simulated, measure, simulate
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES, coherent_modes
from exitwave.simulation.trajectories import TRAJECTORIES

__all__ = [
    "OBJECTS",
    "PROBES",
    "PTYINR_NOISE",
    "TRAJECTORIES",
    "Detection",
    "Simulated",
    "coherent_modes",
    "measure",
    "simulate",
]
