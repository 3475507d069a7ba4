"""The benchmarks: `python -m bench` measures lambda-spark beside its alternatives and writes docs/benchmarks.md."""
