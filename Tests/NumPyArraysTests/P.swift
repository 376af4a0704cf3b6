// NumPyArraysTests: next.
