"""A long run of one gateway worker at most of its capacity, with clients of every kind: `make soak`.

`crowd` is the process of the clients that break no rule; hostile ones are the attackers of `tests.attack`;
`flatness` judges what was sampled.
"""
