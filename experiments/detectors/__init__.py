"""Methods that list the wrong labels of a training set."""
