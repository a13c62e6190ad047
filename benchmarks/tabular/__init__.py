"""Networks for tables beside others, on real data: what they predict, and what they cost."""
