"""
Look at a scan first
====================

What the detector saw, where the beam went, and how bright it was: most faults of a scan show here, before any time is spent on it.
``ew.inspect`` says the same in numbers.
"""

import exitwave as ew

made = ew.simulate("features", frames=144, frame_px=64, detection=ew.Detection(drift=0.3, dead_fraction=0.01))
print(ew.inspect(made.scan).suspicious)
figure = made.scan.plot()
