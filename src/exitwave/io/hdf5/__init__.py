"""HDF5: opening files, values with their units, patterns left on disk, and the parts exitwave writes into them."""
