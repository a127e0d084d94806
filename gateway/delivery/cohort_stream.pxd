cdef class CohortStream:
    cdef public object key
    cdef public object market
    cdef public object flushed_to
    cdef public long long bytes_sent
    cdef public dict holding
    cdef dict _payloads
    cdef dict _statuses
    cdef object _made_at
    cpdef object forget_old(self)
