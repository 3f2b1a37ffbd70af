"""Training: one loop over the epochs, and the parts that it is made of."""
