"""Unit costs for `depthcast.capacity`: measured with real processes, fitted, checked by a simulation."""
