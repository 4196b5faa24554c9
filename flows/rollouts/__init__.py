"""A version on its way to a channel's devices: what they tell, what follows from it, and what is signed."""
