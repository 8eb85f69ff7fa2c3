"""Training of networks: one loop for all of them, on any device, which resumes exactly and notices when nothing is learned."""
