"""
Near field, magnified
=====================

Behind a focus the sample's shadow falls magnified onto the detector. A focus distance is all that makes a scan near field.
"""

import exitwave as ew

geometry = {"energy_ev": 12_650.0, "distance_m": 1.12, "detector_pixel_m": 55e-6, "focus_distance_m": 3.65e-3}
made = ew.simulate("siemens", frames=100, frame_px=64, overlap=0.7, **geometry)
result = ew.reconstruct(made.scan, ew.MPIE(epochs=80))
figure = result.plot()
