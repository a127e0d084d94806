"""Fuzzing: every parser that faces input, each as a target that takes bytes (`python -m tests.fuzz --help`).

A target raises only if something is wrong: an error of another type than its parser promises, a result that
breaks a rule, a round trip that changes something, or a book that differs from a model.
"""
