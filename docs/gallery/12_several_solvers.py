"""
Which solver suits my data?
===========================

Several on one scan, from the same start, judged by the same figures.
"""

import exitwave as ew

made = ew.simulate("textured", frames=144, frame_px=64, overlap=0.7, photons_per_frame=1e5)
compared = ew.compare(
    made.scan,
    {"newton": ew.default_solver(), "rpie": ew.RPIE(epochs=40), "lsqml": ew.LSQML(epochs=40)},
    truth=made.truth,
)
figure = compared.plot()
