"""Recipes: HDF5 files of a facility described in YAML; those that come with exitwave stand beside."""
