"""Measures what was made: drawn digits against real ones, and samplers against exact answers."""

# Image i of seed s is drawn from generator s * SEED_STRIDE + i: no two seeds share an image.
SEED_STRIDE = 1_000_003
# Images of a seed that a report measures.
NUM = 10_000
