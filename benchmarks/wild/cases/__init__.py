"""The functions, with arguments for them."""
