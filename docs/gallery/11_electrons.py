"""
4D-STEM: atoms by electrons
===========================

The same physics at 300 kV: a probe of 20 mrad semi-angle out of focus, a lattice of atoms, ten thousand electrons a pattern.
"""

import math

import torch

import exitwave as ew

frame, semi_angle, defocus_m = 64, 20e-3, 20e-9
# Half the window of angles is 32 pixels of 1.2 mrad.
geometry = ew.Geometry.from_voltage(300e3, 1.0, (1.2e-3, 1.2e-3))
pixel_m, wavelength_m = geometry.object_pixel_m((frame, frame))[0], geometry.wavelength_m

angle = (torch.arange(frame) - frame // 2) * 1.2e-3
squared = angle[:, None] ** 2 + angle**2
wave = torch.polar((squared < semi_angle**2).float(), -math.pi * defocus_m * squared / wavelength_m)
probe = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(wave)))

# Columns of atoms every 2 A, each a small phase.
step_px, side = 3, 24
size = frame + step_px * side + 8
y, x = torch.meshgrid(torch.arange(size) * pixel_m, torch.arange(size) * pixel_m, indexing="ij")
lattice = (torch.cos(2 * math.pi * x / 2e-10) + torch.cos(2 * math.pi * y / 2e-10)).div(0.35).exp()
atoms = torch.polar(torch.ones_like(lattice), 0.6 * lattice / lattice.max())

grid = torch.arange(side) * float(step_px) + 4
positions = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1).reshape(-1, 2)
made = ew.measure(atoms, probe, positions, geometry, detection=ew.Detection(photons_per_frame=1e4))
result = ew.reconstruct(made.scan, ew.RPIE(epochs=60), probe=made.truth.probe)
figure = result.plot()
