"""What pty-chi and PtyRAD import of torchvision, whose wheels on the index do not load beside a CPU build of torch."""
