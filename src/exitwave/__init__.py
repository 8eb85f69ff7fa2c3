"""exitwave: coherent diffraction data in, trustworthy images out.

import exitwave as ew

scan = ew.read("gold_balls.cxi")
result = ew.reconstruct(scan, ew.RPIE(epochs=200, alpha=0.05))
ew.write(result, "gold_balls.h5")
ew.report(result, "gold_balls.html")
"""

import lazy_loader

# The names stand in __init__.pyi; each is imported when first used, so that `import exitwave` costs nothing.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
