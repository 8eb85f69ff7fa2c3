"""Neural networks as plain torch modules: real images in, real images out; no physics, no training."""
