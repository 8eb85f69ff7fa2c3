"""
An image while the scan still runs
==================================

Frames are absorbed as they come, in groups; here the image when half of them are there.
"""

import torch

import exitwave as ew

made = ew.simulate("siemens", frames=196, frame_px=64, overlap=0.7)
stream = ew.LocalStream(made.scan.positions_m, made.scan.geometry, made.truth.probe)
for numbers in torch.arange(len(made.scan) // 2).split(14):
    stream.absorb(numbers, made.scan.frames(numbers))
figure = stream.estimate().plot()
