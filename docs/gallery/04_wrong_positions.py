"""
Positions that are off by a pixel
=================================

Stages are rarely where they say. Positions are refined together with the image; the report page maps how far each moved.
"""

import exitwave as ew

made = ew.simulate("siemens", frames=144, frame_px=64, overlap=0.75, detection=ew.Detection(position_error_px=1.0))
as_recorded = ew.reconstruct(made.scan)
solver = ew.refine(ew.default_solver(), ew.RefinementOptions(refine_positions=True))
refined = ew.reconstruct(made.scan, solver)
print(f"residual as recorded {as_recorded.residual:.4f}, refined {refined.residual:.4f}")
figure = refined.plot()
