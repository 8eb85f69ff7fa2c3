"""
When a low residual lies
========================

With few photons the residual goes on falling while the image gets worse: noise is fitted. Pixels that the solver never sees
(``free_fraction``) tell when.
"""

import matplotlib.pyplot as plt

import exitwave as ew

made = ew.simulate("features", frames=100, frame_px=48, overlap=0.7, photons_per_frame=500)
problem = ew.pose(made.scan, ew.Setup(free_fraction=0.05))
seen, hidden = [], []
for step in ew.iterate(problem, ew.EPIE(epochs=60)):
    seen.append(problem.residual(step.estimate))
    hidden.append(problem.residual(step.estimate, held_out=True))
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
axes.plot(seen, label="pixels that the solver sees")
axes.plot(hidden, label="pixels held out")
axes.set(xlabel="epoch", ylabel="residual")
axes.legend()
