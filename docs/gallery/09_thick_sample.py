"""
A thick sample in two slices
============================

Where light spreads within the sample, the object is a stack of slices with free space between them.
"""

import torch

import exitwave as ew

made = ew.simulate("lines", frames=144, frame_px=64, overlap=0.75)
other = ew.simulate("features", frames=144, frame_px=64, overlap=0.75)
slices = torch.cat((made.truth.object, other.truth.object))
gap_m = 300e-6
thick = ew.measure(slices, made.truth.probe, made.truth.positions_px, made.scan.geometry, slice_spacing_m=(gap_m,))
setup = ew.Setup(slices=2, slice_spacing_m=gap_m)
result = ew.reconstruct(thick.scan, ew.RPIE(epochs=80), probe=thick.truth.probe, setup=setup)
figure = result.estimate.plot()
