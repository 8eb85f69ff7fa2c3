"""Made data with known truth: samples, probes, scans and detectors; the truth never travels with the scan."""

from exitwave.simulate.detection import PTYINR_NOISE, Detection
from exitwave.simulate.measure import Simulated, measure, simulate
from exitwave.simulate.objects import OBJECTS
from exitwave.simulate.probes import PROBES, coherent_modes
from exitwave.simulate.trajectories import TRAJECTORIES

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
