"""One module per way to compute a reweight.

Each has `is_available()`, `plan(losses, rule)` and `apply(plan, losses, weights, mu, out)`, and `reweight(...)` where it
fuses the two. The numpy module is the reference: whatever it answers, the others answer bit for bit.
"""
