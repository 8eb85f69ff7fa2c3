"""You will see how a partly coherent beam spoils a reconstruction with one probe mode, and how a second one repairs it.

    python unknown_probe_with_modes.py [frames]

A source of finite size, a vibrating stage or a fly scan blur the patterns. Several probe modes, whose intensities add at
the detector, describe that (Thibault & Menzel, Nature 494, 68 (2013)).
"""

import sys

import exitwave as ew

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 144

# The truth has two modes; the first holds 71 % of the photons, the second 29 %.
made = ew.simulate("textured", frames=frames, frame_px=64, overlap=0.7, modes=2, photons_per_frame=1e6, seed=1)

errors = {}
for modes in (1, 2):
    # The first mode is guessed from the mean pattern, further ones start as weak, orthogonal variations of it.
    result = ew.reconstruct(made.scan, ew.RPIE(epochs=80), setup=ew.Setup(modes=modes))
    errors[modes] = ew.evaluate(result, truth=made.truth).metrics["M-NRMSE"]
    powers = result.estimate.probe.abs().square().sum(dim=(1, 2))
    shares = ", ".join(f"{float(share):.0%}" for share in powers / powers.sum())
    print(
        f"{modes} mode(s): residual {result.residual:.4f}, error M-NRMSE {errors[modes]:.3f}, photons in modes: {shares}"
    )

print(f"the second mode brings the error from {errors[1]:.3f} to {errors[2]:.3f}")

# Modes mix freely (any unitary combination gives the same patterns), so compare the space they span, not one by one:
# M-NRMSE-probe of `ew.evaluate` does that.
