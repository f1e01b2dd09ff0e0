"""Structures and their labels: reading, checking, writing."""
