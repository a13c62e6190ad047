"""Side by side with peers: `python -m benchmarks --help`, explained in benchmarks/README.md."""
