cimport cython
from depthcast.gateway.market.history cimport History
from depthcast.gateway.market.step cimport Step
from depthcast.gateway.market.view cimport View

cdef class Channel:
    cdef readonly object symbol
    cdef readonly object depth
    cdef readonly object group_ticks
    cdef public object state
    cdef public View view
    cdef public long long head
    cdef public long long flushed_head
    cdef public long long reset_at
    cdef public long long begins_at
    cdef readonly History history
    cdef public list fresh
    cdef public long long subscribers
    cdef public object idle_since
    cdef public object counters
    cdef bytes _beginning
    cdef object _deflate_bytes_min
    cdef object _parts_bound
    cdef object _catch_ups
    cdef object _snapshots
    cdef object _fresh_deltas
    cdef tuple _wanted
    @cython.locals(step=Step)
    cpdef bint advance(
        self, object changes, object seq, object ts, long long broadcast, object event_ts=*
    ) except -1
    cpdef object end_tick(self)
    cpdef object fresh_deltas(self, object encoding)
    cpdef object _separate(self, list steps, object encoding)
    @cython.locals(data=bytes)
    cpdef bytes _encoded(self, Step step, object encoding)
