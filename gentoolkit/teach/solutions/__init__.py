"""The exercises of each lesson, with their oracles: one module a lesson, `exNN.py`."""
