cimport cython
from depthcast.gateway.delivery.cohort_stream cimport CohortStream

cdef class Cohort(CohortStream):
    cdef public object interval_ms
    cdef public set others
    cdef public dict synced
    cdef public list parts
    cdef public long long extra_deltas
    cdef public bint history_reset
    @cython.locals(parts=list, clients=Py_ssize_t, size=longlong)
    cpdef bint add_parts(self, object batch) except -1

@cython.locals(cohort=Cohort)
cpdef object pass_part(object cohorts, bytes data, list touched)
