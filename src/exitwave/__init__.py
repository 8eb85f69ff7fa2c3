"""exitwave: coherent diffraction data in, trustworthy images out.

    import exitwave as ew

    scan = ew.read("gold_balls.cxi")
    result = ew.reconstruct(scan, ew.RPIE(epochs=200, alpha=0.05))
    ew.write(result, "gold_balls.h5")
    ew.report(result, "gold_balls.html")
"""

from typing import TYPE_CHECKING

import lazy_loader

# Public names are listed once, here; each is imported when first used, so that `import exitwave` costs nothing.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data.errors": ["ExitwaveError", "FormatError", "InputError"],
        "data.estimate": ["Estimate", "PtychoEstimate"],
        "data.geometry": ["Geometry"],
        "data.result": ["Result"],
        "data.scan": ["Scan"],
        "evaluation.inspection": ["Inspection", "inspect"],
        "evaluation.judge": ["Evaluation", "compare_halves", "evaluate"],
        "files": ["read", "read_estimate", "read_probe", "read_result", "read_truth", "write"],
        "io.reading": ["Stated"],
        "iterative.pie": ["EPIE", "MPIE", "RPIE"],
        "job": ["Job", "prepared", "read_job", "run_job"],
        "orient": ["rank_orientations"],
        "reports.page": ["report"],
        "run": ["Checkpoints", "Stop", "iterate", "pose", "reconstruct", "reconstruct_halves"],
        "simulation.detection": ["Detection"],
        "simulation.measure": ["Simulated", "measure", "simulate"],
        "solver": ["Solver", "Step", "chain", "ensemble", "from_spec", "solver", "solvers", "to_spec"],
    },
)

if TYPE_CHECKING:
    from exitwave.data.errors import ExitwaveError, FormatError, InputError
    from exitwave.data.estimate import Estimate, PtychoEstimate
    from exitwave.data.geometry import Geometry
    from exitwave.data.result import Result
    from exitwave.data.scan import Scan
    from exitwave.evaluation.inspection import Inspection, inspect
    from exitwave.evaluation.judge import Evaluation, compare_halves, evaluate
    from exitwave.files import read, read_estimate, read_probe, read_result, read_truth, write
    from exitwave.io.reading import Stated
    from exitwave.iterative.pie import EPIE, MPIE, RPIE
    from exitwave.job import Job, prepared, read_job, run_job
    from exitwave.orient import rank_orientations
    from exitwave.reports.page import report
    from exitwave.run import Checkpoints, Stop, iterate, pose, reconstruct, reconstruct_halves
    from exitwave.simulation.detection import Detection
    from exitwave.simulation.measure import Simulated, measure, simulate
    from exitwave.solver import Solver, Step, chain, ensemble, from_spec, solver, solvers, to_spec
