"""Rollouts as the catalog keeps them: values, what people may do to them, and what devices told of them."""
