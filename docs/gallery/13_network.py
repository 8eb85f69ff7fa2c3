"""
An image in one pass by a network
=================================

The network that comes with the package makes an image of blood cells, which it never saw; a few epochs of a solver refine it.
Networks need the probe, which an earlier result of the same beam has.
"""

import exitwave as ew

made = ew.simulate("cells", frames=144, frame_px=64, overlap=0.75, seed=3)
network = ew.from_spec("general")
seen = ew.reconstruct(made.scan, network, probe=made.truth.probe)
refined = ew.reconstruct(made.scan, ew.chain(network, ew.RPIE(epochs=20)), probe=made.truth.probe)
print(f"residual of the network {seen.residual:.4f}, refined {refined.residual:.4f}")
figure = seen.plot()
