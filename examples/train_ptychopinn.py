"""You will see a network learn phase retrieval from two scans, without labels, image a third one, and LSQML refine that.

    python train_ptychopinn.py [frames]

The network sees groups of 16 neighbouring patterns and is judged by the patterns that its images would give (Hoidn, Mishra
& Mehta, Sci. Rep. 13, 22789 (2023)). It never sees the truth, which is used here only to judge it.
"""

import sys

import exitwave as ew

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 121

# Three samples in the same beam. At a beamline the probe is that of an earlier result: ew.read_probe("out.h5").
made = [
    ew.simulate(name, frames=frames, frame_px=48, overlap=0.75, seed=seed)
    for seed, name in enumerate(("textured", "siemens", "cells"))
]
*lessons, unseen = made
probe = lessons[0].truth.probe


def tell(taught: ew.TrainingProgress) -> None:
    at = taught.progress
    if at.step == at.steps:
        print(f"epoch {at.epoch} of {taught.epochs}: loss {at.loss:.4f}")


# In a folder; the same call with resume=True does nothing when it is finished, and goes on when it was interrupted.
examples = [ew.TrainingExample(scan=one.scan, probe=probe) for one in lessons]
pinn = ew.train(ew.PtychoPINN(epochs=4), examples, save="pinn", run=ew.TrainingRun(resume=True), watch=tell)

# A trained network is a solver like any other, also by its path: ew.from_spec("pinn"), exitwave reconstruct SCAN pinn.
solvers = {
    "network": pinn,
    "network, 20 epochs of LSQML": ew.chain(pinn, ew.LSQML(epochs=20)),
    "20 epochs of LSQML alone": ew.LSQML(epochs=20),
}
for name, solver in solvers.items():
    result = ew.reconstruct(unseen.scan, solver, probe=probe)
    error = ew.evaluate(result, truth=unseen.truth).metrics["M-NRMSE"]
    print(f"{name}: residual {result.residual:.4f}, error {error:.3f} (M-NRMSE)")
    if solver is pinn:
        result.plot().savefig("network.png", dpi=100)
print("look at network.png")
