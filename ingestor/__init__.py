"""The process that owns the authoritative books: input log in, book state, recovery, leadership."""

from shared.compiled import prefer_source

prefer_source()
