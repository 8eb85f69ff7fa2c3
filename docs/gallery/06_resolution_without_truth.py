"""
Resolution without a truth
==========================

Of real samples nobody knows the truth. Two images from halves of the frames are correlated instead: detail in which they agree
is there.
"""

import exitwave as ew

made = ew.simulate("textured", frames=256, frame_px=64, overlap=0.8, photons_per_frame=1e5)
solver = ew.RPIE(epochs=40)
result = ew.reconstruct(made.scan, solver)
first, second = ew.reconstruct_halves(made.scan, solver, result)
judged = ew.compare_halves(first.estimate, second.estimate, pixel=result.object_pixel_m)
figure = judged.plot()
