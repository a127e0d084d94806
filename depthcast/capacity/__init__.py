"""How many machines a deployment needs: measured costs, a demand, a plan, and a simulation of one machine.

Pure arithmetic: no clock, socket or file. `benchmarks/capacity` measures the costs, `depthcast capacity`
prints plans, `docs/capacity.md` explains both.
"""
