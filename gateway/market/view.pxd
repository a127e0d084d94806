cimport cython
from cpython.array cimport array
from depthcast.shared.book cimport BookSide
from depthcast.shared.digest cimport SideWeights
from depthcast.shared.level_rows cimport LevelRows, numbers_for, rows_of

cdef unsigned long long _MASK

cdef class SideView:
    cdef readonly BookSide side
    cdef readonly Py_ssize_t depth
    cdef public object edge
    cpdef object advance(self, object changes)
    @cython.locals(rows=list, sign=longlong, price=longlong)
    cpdef object _up_to(self, object changes, long long edge)
    @cython.locals(
        given=cython.p_longlong, count=Py_ssize_t, sign=cython.longlong, items=Py_ssize_t, kept=Py_ssize_t, at=Py_ssize_t, row=Py_ssize_t,
        numbers=array, rows=cython.p_longlong, end=Py_ssize_t,
    )
    cdef object _rows_up_to(self, LevelRows changes, long long edge)

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
