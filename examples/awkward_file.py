"""You will see an HDF5 file made that is as awkward as those of a new beamline, to find your way from it to an image.

    python awkward_file.py [frames]

Names that no program knows, micrometres and keV, a detector of 514 x 1030 pixels with gaps and hot pixels, the beam far from its
middle, a stage that moves the sample, positions wrong by a pixel, a beam that is not quite coherent. docs/first_image.md reads it.
"""

import sys

import h5py
import hdf5plugin
import numpy as np

import exitwave as ew

frames = int(sys.argv[1]) if len(sys.argv) > 1 else 144
frame_px, beam = 128, (301, 642)
made = ew.simulate(
    "natural",
    frames=frames,
    frame_px=frame_px,
    overlap=0.75,
    modes=2,
    energy_ev=9200.0,
    distance_m=3.0,
    detection=ew.Detection(photons_per_frame=2e6, position_error_px=0.7),
)

# The patterns lie somewhere on a large detector. Its value for "no data" is the largest number there is.
no_data = np.iinfo(np.uint32).max
stack = np.zeros((frames, 514, 1030), dtype=np.uint32)
top, left = (centre - frame_px // 2 for centre in beam)
stack[:, top : top + frame_px, left : left + frame_px] = made.scan.frames(slice(None)).numpy()
bad = np.zeros(stack.shape[1:], dtype=bool)
bad[256:260] = bad[:, 257:259] = bad[:, 514:518] = bad[:, 620:622] = True
hot = np.random.default_rng(1).integers((0, 0), bad.shape, (40, 2))
hot = np.vstack((hot, [(beam[0] + 20, beam[1] - 31), (beam[0] - 8, beam[1] + 22)]))
stack[:, hot[:, 0], hot[:, 1]] = 65_000
stack[:, bad] = no_data

with h5py.File("scan_0042.h5", "w") as file:
    pressed = hdf5plugin.Bitshuffle(cname="lz4")
    file.create_dataset("entry/eiger500k/data", data=stack, chunks=(1, *bad.shape), **pressed)
    # The stage carries the sample: when it moves up, the beam moves down on the sample.
    stage_um = -made.scan.positions_m.numpy() * 1e6
    file["entry/scan/piezo_y"], file["entry/scan/piezo_x"] = stage_um.T
    file["entry/mono/en"] = made.scan.geometry.energy_ev / 1000
    file["entry/mono/en"].attrs["units"] = "keV"

print(f"scan_0042.h5: {frames} frames of {bad.shape[0]} x {bad.shape[1]} pixels")
print(f"the beam is at row {beam[0]}, column {beam[1]}; {int(bad.sum())} pixels in gaps, {len(hot)} hot ones")
