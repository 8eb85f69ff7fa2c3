"""
A beam that is not quite coherent
=================================

A beam with incoherent modes blurs the patterns. With one mode the image is spoiled; with as many modes as the beam has it is
sharp, and the modes are found with it.
"""

import exitwave as ew

made = ew.simulate("circuit", frames=144, frame_px=64, overlap=0.75, modes=2)
one = ew.reconstruct(made.scan)
two = ew.reconstruct(made.scan, setup=ew.Setup(modes=2))
print(f"residual with one mode {one.residual:.4f}, with two {two.residual:.4f}")
figure = two.plot()
