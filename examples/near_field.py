"""You will see a magnified near-field (holographic) scan reconstructed, where the patterns look like blurred pictures.

    python near_field.py [frames]

The sample stands a few millimetres behind the focus of a cone beam: the detector sees it magnified and out of focus.
"""

import sys

import exitwave as ew

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 144

# `focus_distance_m` makes it near field: the distance from the focus to the sample. inf would be a parallel beam.
made = ew.simulate(
    "siemens",
    frames=frames,
    frame_px=64,
    overlap=0.7,
    energy_ev=12_650.0,
    distance_m=1.12,
    detector_pixel_m=55e-6,
    focus_distance_m=3.65e-3,
)
geometry = made.scan.geometry
print(f"magnification {geometry.magnification:.1f}, object pixel {made.scan.object_pixel_m[0] * 1e9:.1f} nm")
print(f"the pattern is that of a parallel beam after {geometry.effective_distance_m * 1e3:.3f} mm")

# Nothing else changes: the geometry decides how light travels, the solvers are the same. Near-field scans settle more
# slowly, because every detector pixel sees only a small part of the sample: the momentum of mPIE helps.
result = ew.reconstruct(made.scan, ew.MPIE(epochs=100))
print(f"residual {result.residual:.4f}, error {ew.evaluate(result, truth=made.truth).metrics['M-NRMSE']:.3f} (M-NRMSE)")

# CXI has no place for the focus distance; exitwave writes and reads it back in a group of its own. For files of other
# programs state it: exitwave reconstruct scan.cxi rpie --focus-distance-m 3.65e-3
ew.write(made.scan, "near_field.cxi")
assert ew.read("near_field.cxi").geometry == geometry
result.plot().savefig("near_field.png", dpi=100)
print("look at near_field.png")
