"""What was measured and what we believe: frozen values, no files, no physics."""
