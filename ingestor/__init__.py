"""The process that owns the authoritative books: input log in, book state, recovery, leadership."""
