"""One module per way to compute a reweight.

Each has what `rrm_core.dispatch.Backend` lists, and `reweight(losses, rule, weights, mu, out)` where it fuses the two.
The numpy module is the reference: whatever it answers, the others answer bit for bit.
"""
