"""Models for others: a card, code that travels with the weights, a checked upload, and `text2digit info`."""
