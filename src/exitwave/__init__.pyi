"""Every public name of exitwave, listed once; `__init__.py` imports each when it is first used."""

from .comparison import compare as compare
from .data.errors import (
    DoubtfulImage as DoubtfulImage,
    ExitwaveError as ExitwaveError,
    FormatError as FormatError,
    InputError as InputError,
)
from .data.estimate import Estimate as Estimate, PtychoEstimate as PtychoEstimate
from .data.geometry import Geometry as Geometry
from .data.result import Result as Result
from .data.scan import Scan as Scan
from .endings import Stop as Stop
from .ensembles import ensemble as ensemble
from .evaluation.comparison import Comparison as Comparison, Entry as Entry
from .evaluation.inspection import Inspection as Inspection, inspect as inspect
from .evaluation.judge import Evaluation as Evaluation, compare_halves as compare_halves, evaluate as evaluate
from .files import (
    read as read,
    read_estimate as read_estimate,
    read_probe as read_probe,
    read_result as read_result,
    read_truth as read_truth,
    write as write,
)
from .halves import reconstruct_halves as reconstruct_halves
from .io.reading import Stated as Stated
from .iterative.gradient import Adam as Adam
from .iterative.lbfgs import LBFGS as LBFGS
from .iterative.local import Local as Local, LocalStream as LocalStream
from .iterative.lsqml import LSQML as LSQML
from .iterative.phasing import CDIRAAR as CDIRAAR, ER as ER, HIO as HIO
from .iterative.pie import EPIE as EPIE, MPIE as MPIE, RPIE as RPIE
from .iterative.projections import AP as AP, DM as DM, RAAR as RAAR
from .iterative.proximal import APG as APG
from .iterative.refined import Refined as Refined, refine as refine
from .iterative.second_order import QuasiNewton as QuasiNewton
from .iterative.starts import CDI as CDI, BestOf as BestOf
from .iterative.wasp import WASP as WASP
from .iterative.wirtinger import AWF as AWF, WF as WF
from .job import Job as Job, prepared as prepared, read_job as read_job, run_job as run_job
from .neural.exporting import export_network as export_network
from .neural.ptychonn import PtychoNN as PtychoNN
from .neural.ptychopinn import PtychoPINN as PtychoPINN
from .orient import rank_orientations as rank_orientations
from .posing import pose as pose
from .reports.page import report as report
from .run import (
    default_solver as default_solver,
    from_spec as from_spec,
    iterate as iterate,
    reconstruct as reconstruct,
    solvers as solvers,
)
from .saving import Checkpoints as Checkpoints
from .simulation.detection import Detection as Detection
from .simulation.isolated import simulate_pattern as simulate_pattern
from .simulation.measure import Simulated as Simulated, measure as measure, simulate as simulate
from .solver import (
    Solver as Solver,
    Step as Step,
    chain as chain,
    solver as solver,
    to_spec as to_spec,
)
from .teaching import Taught as Taught, train as train
