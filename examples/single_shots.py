"""You will see single patterns imaged one by one by a network under a curved probe, and how that fails under a flat one.

    python single_shots.py [frames]

One pattern tells a sample from its twin, the conjugate mirror image, only if the probe is not its own twin: a curved one,
out of focus (Hoidn, arXiv 2602.21361 (2026)). Else frames must overlap and be seen together (group=4 or more).
"""

import sys
import warnings

import torch

import exitwave as ew

SIZE = 48
frames = int(sys.argv[1]) if len(sys.argv) > 1 else 144
# A warning is one line: what was found, what it means, what to do.
warnings.showwarning = lambda message, *_: print(f"warning: {message}")


def scan(curvature: float, seed: int) -> ew.Simulated:
    """Lines under a disc whose phase is curvature x r^2, 1e9 photons in each pattern."""
    made = ew.simulate("lines", probe_name="disc", frames=frames, frame_px=SIZE, overlap=0.6, seed=seed)
    y = torch.arange(SIZE) - SIZE // 2
    probe = made.truth.probe * torch.exp(1j * curvature * (y[:, None] ** 2 + y**2))
    truth, counting = made.truth, ew.Detection(photons_per_frame=1e9)
    return ew.measure(truth.object, probe, truth.positions_px, made.scan.geometry, detection=counting, seed=seed)


errors = {}
for name, curvature in (("curved", 0.03), ("flat", 0.0)):
    train, unseen = scan(curvature, seed=1), scan(curvature, seed=2)
    probe = train.truth.probe
    # group=1: every pattern by itself, in training and afterwards; only then are the images laid side by side.
    alone = ew.PtychoPINN(network=ew.UnrolledUNet(stages=4), group=1, epochs=frames // 5, batch=16)
    example = ew.TrainingExample(scan=train.scan, probe=probe)
    shots = ew.train(alone, [example], save=f"single_{name}", run=ew.TrainingRun(resume=True))
    result = ew.reconstruct(unseen.scan, shots, probe=probe)
    errors[name] = ew.evaluate(result, truth=unseen.truth).metrics["M-NRMSE"]
    print(f"{name} probe: residual {result.residual:.5f}, error {errors[name]:.3f} (M-NRMSE)")
    result.plot().savefig(f"single_{name}.png", dpi=100)

print(f"under the flat probe the error is {errors['flat'] / errors['curved']:.0f} times as large")
print("look at single_curved.png, and at single_flat.png, where every line is mixed with its mirror image")
