"""Crystals after Bragg coherent diffraction imaging: laboratory frame, displacement, strain, lattice, dislocations, size."""
