cimport cython

cdef class DirectBatch:
    cdef list _unsent
    cdef set _blocked
    @cython.locals(size=cython.Py_ssize_t, sent=cython.Py_ssize_t, data=bytes)
    cpdef object add(self, object owner, dict sends, list parts)
    cpdef list finish(self)
