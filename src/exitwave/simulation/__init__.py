"""Simulation of data with known truth: samples, probes, scans and detectors; the truth never travels with the scan."""
