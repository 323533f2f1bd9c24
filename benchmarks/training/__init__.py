"""What RRM adds to training, and recorded training runs."""
