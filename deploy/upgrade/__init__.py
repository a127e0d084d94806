"""`make upgrade`: a rolling upgrade of the running composition; docs/upgrade.md says what its clients notice.

Only `docker compose` and `docker` do the work: `composition` runs them, `rolling` has the order of the steps,
`clients` watches what clients see of it.
"""
