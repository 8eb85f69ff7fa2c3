"""HDF5: opening files, values with their units, patterns left on disk, and what exitwave writes by parts."""
