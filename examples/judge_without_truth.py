"""You will see two honest measures of a reconstruction whose truth nobody knows: split-half resolution and free residual.

    python judge_without_truth.py [frames]

A residual alone cannot tell: a solver with enough freedom also fits the noise. These two can.
"""

import sys

import exitwave as ew

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 196
solver = ew.RPIE(epochs=40)

print("photons/frame   residual   free residual   resolution (nm)   of Nyquist")
for photons in (1e6, 1e4):
    scan = ew.simulate("textured", frames=frames, frame_px=64, overlap=0.75, photons_per_frame=photons).scan

    # 1. Free residual: 5 % of the pixels are hidden from the solver and then predicted. Far above the residual means
    #    that the solver has begun to fit noise: fewer epochs, a larger alpha, or more photons.
    result = ew.reconstruct(scan, solver, setup=ew.Setup(free_fraction=0.05))

    # 2. Split-half: two reconstructions from disjoint halves of the frames, each from scratch. Only what both show is
    #    in the data. `FRC-half-bit-split` is where their Fourier ring correlation falls below the half-bit threshold.
    first, second = ew.reconstruct_halves(scan, solver, result)
    halves = ew.compare_halves(first.estimate, second.estimate, pixel=result.object_pixel_m)
    share = halves.metrics["FRC-half-bit-split"]
    half_period_nm = max(result.object_pixel_m) * 1e9 / max(share, 1e-3)
    print(f"{photons:13.0e} {result.residual:10.4f} {result.free_residual:15.4f} {half_period_nm:17.1f} {share:12.0%}")

# Each half has half the photons and half the overlap, so the full image is at least as good. On the command line:
# exitwave reconstruct scan.cxi rpie --free-fraction 0.05 -o out.h5, then exitwave evaluate out.h5 --split-half
