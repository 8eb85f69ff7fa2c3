"""
A fly scan
==========

The stage does not stop: the probe travels eight pixels during each exposure. Told so, the model follows it.
"""

import exitwave as ew

made = ew.simulate("circuit", frames=144, frame_px=64, overlap=0.75, detection=ew.Detection(exposure_px=(0, 8)))
travel_m = (0.0, 8 * made.scan.object_pixel_m[1])
stopped = ew.reconstruct(made.scan, ew.RPIE(epochs=40))
flying = ew.reconstruct(made.scan, ew.RPIE(epochs=40), setup=ew.Setup(exposure_m=travel_m))
print(f"residual as if it stopped {stopped.residual:.4f}, as a fly scan {flying.residual:.4f}")
figure = flying.plot()
