"""Arrays of any framework: checked, converted for a backend, and converted back."""
