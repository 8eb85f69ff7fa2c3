"""exitwave: coherent diffraction data in, trustworthy images out."""
