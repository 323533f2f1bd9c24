"""RRM and its parts: the weights of all samples, and the losses they follow from."""
