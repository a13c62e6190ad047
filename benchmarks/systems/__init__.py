"""One module per library: each function builds the `Program` of one system."""
