"""The inner loop: gather object patches, impose the measured modulus, scatter the adjoint."""
