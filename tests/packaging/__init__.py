"""What users get: the sdist, the wheel, what each extra needs, and the types a user's mypy sees."""
