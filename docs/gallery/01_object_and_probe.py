"""
Object and probe from the patterns alone
========================================

The usual case: neither the sample nor the beam is known. Both are found from the diffraction patterns and the positions.
"""

import exitwave as ew

made = ew.simulate("textured", frames=144, frame_px=64, overlap=0.7)
result = ew.reconstruct(made.scan)
print(result.verdict.grade)
figure = result.plot()
