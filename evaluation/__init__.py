"""Measures what was made: samplers against exact answers."""
