"""One module per library or subject: each function builds the `Program` of one system."""
