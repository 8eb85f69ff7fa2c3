"""
One pattern of an isolated object
=================================

Coherent diffraction imaging (CDI): no scan, one pattern, an object that stands alone. Several random starts are laid onto one
another, and agree where the image is right.
"""

import exitwave as ew

made = ew.simulate_pattern(frame_px=96, seed=2)
result = ew.reconstruct(made.scan)
print(result.verdict.grade)
figure = result.plot()
