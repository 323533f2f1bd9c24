"""Arrays of any framework: converted on the way in and back, and checked."""
