"""Methods of the literature, as settings of RRM."""
