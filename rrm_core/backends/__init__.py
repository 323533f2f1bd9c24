"""One module for each way to compute a reweight; `registry.Backend` lists their functions.

`numpy` is the reference: all others return the same bits. A backend trusts its arguments, which have been checked.
"""
