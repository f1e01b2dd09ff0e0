"""Molecular dynamics with a verdict: protocols, detectors, replicas, report."""
