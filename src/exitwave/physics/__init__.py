"""How light goes: interaction, propagation, detection; pure functions and forward models."""
