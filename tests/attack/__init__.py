"""What one attacker can do to one gateway worker, beside a client that behaves: `make attack`.

`wire` is the attackers' side of the socket, without any library that would keep them from misbehaving;
`catalog` collects the attacks of the `*_attacks` modules; `attacker`, `witness` and `publisher` are processes
of their own; `stage` runs one attack with all of them, and `verdict` judges what was measured.
"""
