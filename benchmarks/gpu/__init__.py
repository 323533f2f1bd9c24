"""`rrm_core.reweight` on a GPU."""
