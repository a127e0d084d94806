cimport cython

cdef long long _MOST

cpdef object unpack(object raw, object what)
cpdef object decode_delta(object raw)
cpdef tuple decode_marked_delta(object raw)
cdef object _delta(object items)

@cython.locals(at=cython.Py_ssize_t, ticks=cython.longlong, lots=cython.longlong)
cdef bint _in_range(list flat, long long least_quantity) except -1
