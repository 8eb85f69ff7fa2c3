"""
Few photons
===========

Two thousand photons a pattern. How far the image can be trusted is told by the ring correlation with the truth, which is known
here.
"""

import exitwave as ew

made = ew.simulate("features", frames=196, frame_px=64, overlap=0.75, photons_per_frame=2e3)
result = ew.reconstruct(made.scan)
judged = ew.evaluate(result, truth=made.truth)
figure = judged.plot()

# %%
# The image itself:

figure = result.plot()
# sphinx_gallery_thumbnail_number = 2
