"""Benchmarks: suites of tasks, their runs, and what came of them."""
