"""Every public name of exitwave, listed once; `__init__.py` imports each when it is first used."""

from .data.bragg_geometry import BraggGeometry as BraggGeometry, Circle as Circle, Diffractometer as Diffractometer
from .data.crystal_surface import CrystalSurface as CrystalSurface
from .data.errors import (
    AmbiguousNameWarning as AmbiguousNameWarning,
    DoubtfulImageWarning as DoubtfulImageWarning,
    ExaminedWarning as ExaminedWarning,
    ExitwaveError as ExitwaveError,
    FormatError as FormatError,
    InputError as InputError,
    OverwriteWarning as OverwriteWarning,
    RenamedOptionWarning as RenamedOptionWarning,
)
from .data.estimate import (
    BraggEstimate as BraggEstimate,
    Estimate as Estimate,
    PtychoEstimate as PtychoEstimate,
    SupportEstimate as SupportEstimate,
)
from .data.finding import Finding as Finding
from .data.frame_fits import FrameFits as FrameFits
from .data.geometry import Geometry as Geometry
from .data.laboratory_crystal import LaboratoryCrystal as LaboratoryCrystal
from .data.measurement import Measurement as Measurement
from .data.pattern import Pattern as Pattern
from .data.prepare.steps import prepared as prepared
from .data.result import Result as Result
from .data.rocking_curve import RockingCurve as RockingCurve
from .data.scan import Scan as Scan
from .data.verdict import Verdict as Verdict
from .evaluation.comparison import Comparison as Comparison, ComparisonEntry as ComparisonEntry
from .evaluation.crystals import compare_crystals as compare_crystals
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.evaluation import Evaluation as Evaluation
from .evaluation.ptychography import compare_halves as compare_halves
from .io.assemble import ReadOptions as ReadOptions
from .io.diffractometers import load_diffractometer as load_diffractometer
from .io.files import (
    read as read,
    read_estimate as read_estimate,
    read_probe as read_probe,
    read_result as read_result,
    read_truth as read_truth,
    write as write,
)
from .live.local_stream import LocalStream as LocalStream
from .physics.crystal.dislocations import DislocationLine as DislocationLine, dislocations as dislocations
from .physics.crystal.isosurface import crystal_surface as crystal_surface
from .physics.crystal.laboratory import crystal_in_laboratory as crystal_in_laboratory
from .physics.crystal.size import CrystalSize as CrystalSize, crystal_size as crystal_size
from .physics.crystal.strain import (
    displacement_m as displacement_m,
    lattice_parameter_m as lattice_parameter_m,
    strain as strain,
)
from .problems.base import Problem as Problem
from .problems.bragg import BraggProblem as BraggProblem
from .problems.cdi import SupportProblem as SupportProblem
from .problems.examination import Examination as Examination, examine as examine
from .problems.inspection import (
    Inspection as Inspection,
    RockingInspection as RockingInspection,
    ScanInspection as ScanInspection,
    inspect as inspect,
)
from .problems.ptychography import PtychographyProblem as PtychographyProblem
from .problems.setup import Setup as Setup
from .reports.page import report as report
from .reports.paper_figure import FigureOptions as FigureOptions, save_figure as save_figure
from .reports.plots import plot as plot
from .reports.viewer import view as view
from .running.checkpoints import Checkpoints as Checkpoints
from .running.compare import Contestant as Contestant, compare as compare, with_epochs as with_epochs
from .running.job import Job as Job, read_job as read_job, run_job as run_job, run_together as run_together
from .running.orientation import (
    Orientation as Orientation,
    find_orientation as find_orientation,
    oriented as oriented,
)
from .running.pose import pose as pose
from .running.reconstruct import default_solver as default_solver, iterate as iterate, reconstruct as reconstruct
from .running.split_half import reconstruct_halves as reconstruct_halves
from .running.stopping import Stop as Stop
from .running.train import TrainingProgress as TrainingProgress, TrainingRun as TrainingRun, train as train
from .simulation.crystal_settings import CrystalSettings as CrystalSettings
from .simulation.crystals import (
    Crystal as Crystal,
    crystal as crystal,
    crystals as crystals,
    drawn_crystal as drawn_crystal,
)
from .simulation.detection import Detection as Detection
from .simulation.isolated import simulate_pattern as simulate_pattern
from .simulation.measure import Simulated as Simulated, measure as measure, simulate as simulate
from .simulation.rocking_curve import simulate_crystal as simulate_crystal
from .simulation.rocking_experiment import RockingExperiment as RockingExperiment
from .simulation.stem import Microscope as Microscope, simulate_stem as simulate_stem
from .solvers.base import Solver as Solver, Step as Step
from .solvers.cdi.multistart import CDI as CDI, BestOf as BestOf
from .solvers.cdi.phase_retrieval import CDIRAAR as CDIRAAR, ER as ER, HIO as HIO
from .solvers.chain import chain as chain
from .solvers.ensemble import ensemble as ensemble
from .solvers.neural.autophasenn import AutoPhaseNN as AutoPhaseNN
from .solvers.neural.export import export_network as export_network
from .solvers.neural.patch_encoder import PatchEncoder as PatchEncoder
from .solvers.neural.ptychonn import PtychoNN as PtychoNN
from .solvers.neural.ptychopinn import PtychoPINN as PtychoPINN
from .solvers.neural.reconstruction_network import (
    GroupBatch as GroupBatch,
    NetworkArchitecture as NetworkArchitecture,
    Prediction as Prediction,
    ReconstructionNetwork as ReconstructionNetwork,
    network as network,
)
from .solvers.neural.training_examples import TrainingExample as TrainingExample
from .solvers.neural.unrolled_unet import UnrolledUNet as UnrolledUNet
from .solvers.ptychography.adam import Adam as Adam
from .solvers.ptychography.lbfgs import LBFGS as LBFGS
from .solvers.ptychography.local import Local as Local
from .solvers.ptychography.lsqml import LSQML as LSQML
from .solvers.ptychography.pie import EPIE as EPIE, MPIE as MPIE, RPIE as RPIE
from .solvers.ptychography.projections import AP as AP, DM as DM, RAAR as RAAR
from .solvers.ptychography.proximal import APG as APG
from .solvers.ptychography.quasi_newton import QuasiNewton as QuasiNewton
from .solvers.ptychography.wasp import WASP as WASP
from .solvers.ptychography.wirtinger import AWF as AWF, WF as WF
from .solvers.refined import Refined as Refined, refine as refine
from .solvers.refinement_options import RefinementOptions as RefinementOptions
from .solvers.registry import solver as solver, solvers as solvers
from .solvers.spec import from_spec as from_spec, to_spec as to_spec
from .training.source import TrainingSource as TrainingSource
