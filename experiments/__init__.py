"""The recorded experiments: ``python -m experiments NAME`` from a checkout. Not part of the installed package."""
