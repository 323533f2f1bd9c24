"""What all benchmarks share: the losses that are timed, and interleaved timing."""
