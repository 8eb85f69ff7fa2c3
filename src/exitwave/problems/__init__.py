"""Problems, all that a solver may look at: measurement, forward model, noise, and the passes over frames."""
