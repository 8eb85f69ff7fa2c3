"""You will see a beamline's own HDF5 file, with its own names, units and signs, read through ten lines of YAML.

    python read_with_recipe.py [frames]

The file is made here, so that the example runs anywhere; with your own file only the recipe matters.
"""

import sys
from pathlib import Path

import h5py

import exitwave as ew

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 100
made = ew.simulate("circuit", frames=frames, frame_px=64, overlap=0.7)

# The beamline writes stage positions in micrometres, x and y apart, and the energy in keV.
# The stage carries the sample: when it moves up, the probe moves down on the sample. Hence the minus signs.
with h5py.File("beamline.h5", "w") as file:
    file["eiger/frames"] = made.scan.frames(slice(None)).numpy()
    file["stage/y_um"], file["stage/x_um"] = -made.scan.positions_m.numpy().T * 1e6
    file["mono/energy_keV"] = made.scan.geometry.energy_ev / 1000
    file["eiger/bad_pixels"] = ~made.scan.mask.numpy()

Path("beamline.yaml").write_text("""
title: My beamline
frames: {path: eiger/frames}
positions:
  unit: um
  sign: sample
  y: [{path: stage/y_um}]
  x: [{path: stage/x_um}]
energy: {path: mono/energy_keV, unit: keV}
distance: {value: 2.0, unit: m}
detector_pixel: {value: 75, unit: um}
mask: {path: eiger/bad_pixels, good: zero}
""")

# Anything stated wins over the file and the recipe. With x and y exchanged nothing fits together any more:
for swapped in (False, True):
    scan = ew.read("beamline.h5", ew.ReadOptions(recipe="beamline.yaml", swap_axes=swapped))
    residual = ew.reconstruct(scan, ew.RPIE(epochs=30)).residual
    print(f"{'x and y exchanged' if swapped else 'as the recipe says':20} residual {residual:.4f}")

# On the command line: exitwave reconstruct beamline.h5 rpie --recipe beamline.yaml -o out.h5
# Not sure about signs and orientation? exitwave info beamline.h5 --recipe beamline.yaml --auto-orient finds all of them.
