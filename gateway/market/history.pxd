cimport cython
from depthcast.gateway.market.step cimport PackedSteps, Step

cdef class HistoryBound:
    cdef object _each_max
    cdef object _total_max
    cdef readonly long long steps_max

cdef class History:
    cdef HistoryBound _bound
    cdef object _counters
    cdef list _fresh
    cdef PackedSteps _packed
    cdef long long _prepended
    cdef long long _rows
    cdef readonly object base
    cpdef object append(self, Step step)
    @cython.locals(step=Step)
    cpdef object pack(self)
    cpdef object restart(self, object base)
    @cython.locals(step=Step)
    cdef object _drop_oldest(self)
