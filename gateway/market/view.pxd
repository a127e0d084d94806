cimport cython
from depthcast.shared.book cimport BookSide
from depthcast.shared.digest cimport SideWeights

cdef unsigned long long _MASK

cdef class SideView:
    cdef readonly BookSide side
    cdef readonly Py_ssize_t depth
    cdef public object edge
    cpdef object advance(self, object changes)
    @cython.locals(rows=list, sign=longlong, price=longlong)
    cpdef list _up_to(self, object changes, long long edge)

cdef class View:
    cdef public object replica
    cdef readonly Py_ssize_t depth
    cdef readonly object group_ticks
    cdef public object seq
    cdef public object ts
    cdef public object event_ts
    cdef readonly SideView bids
    cdef readonly SideView asks
    cdef public unsigned long long digest
    # Of what moved only the lowest 32 bits count: whatever is beyond 64 bits may be lost.
    @cython.locals(
        bid_weights=SideWeights, ask_weights=SideWeights, bids_moved=cython.ulonglong, asks_moved=cython.ulonglong
    )
    cpdef object advance(self, object changes, object seq, object ts, object event_ts=*)
