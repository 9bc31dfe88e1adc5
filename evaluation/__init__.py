"""Measures what was made: drawn digits against real ones, and samplers against exact answers."""
