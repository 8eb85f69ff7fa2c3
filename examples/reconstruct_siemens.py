"""You will see a Siemens star and the probe that lit it appear from diffraction patterns, and how far they are from the truth.

    python reconstruct_siemens.py [frames]

Writes siemens.h5 (the result), siemens.html (the report) and siemens.png beside you.
"""

import sys

import exitwave as ew

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 169

# A made measurement: photon noise, a zone plate as the lens, positions on a raster with some jitter.
# `made.scan` is what a beamline would give you; `made.truth` is kept apart and only used to judge.
made = ew.simulate("siemens", frames=frames, frame_px=64, overlap=0.65, photons_per_frame=1e6)
print(f"{len(made.scan)} patterns of {made.scan.frame_shape}, object pixel {made.scan.object_pixel_m[0] * 1e9:.1f} nm")

# Look before you reconstruct: what is suspicious comes with its cure.
found = ew.inspect(made.scan)
print(f"neighbouring probes overlap by about {found.overlap_probe:.0%}; suspicious: {found.suspicious or 'nothing'}")

# Object and probe both start from the data alone. A solver is a value; its fields are its options.
solver = ew.RPIE(epochs=60, alpha=0.05)
result = ew.reconstruct(made.scan, solver)
print(f"{solver}: residual {result.history[0]:.4f} in the first epoch, {result.residual:.4f} at the end")

# Global phase, scale, ramp and shift cannot be known from diffraction; they are removed before comparing, and recorded.
judged = ew.evaluate(result, truth=made.truth)
print(
    f"error of the object M-NRMSE = {judged.metrics['M-NRMSE']:.3f}, of the probe {judged.metrics['M-NRMSE-probe']:.3f}"
)
print(f"detail shared with the truth up to {judged.metrics['FRC-half-bit']:.0%} of the Nyquist frequency")

ew.write(result, "siemens.h5")
ew.report(result, "siemens.html", evaluation=judged)
result.plot().savefig("siemens.png", dpi=100)
print("open siemens.html in a browser")
