cimport cython

cdef class Step:
    cdef readonly long long broadcast
    cdef readonly Py_ssize_t rows
    cdef readonly dict frames
    cdef object _delta
    cdef bytes _packed
    cpdef bytes pack(self)

cdef class PackedSteps:
    cdef bytearray _bytes
    cdef object _starts
    cdef Py_ssize_t _first
    cdef long long _end
    @cython.locals(packed=bytes)
    cpdef object append(self, Step step)
    cpdef tuple pop_oldest(self)
    cpdef object state(self, Py_ssize_t index)
    @cython.locals(at=Py_ssize_t, end=longlong)
    cpdef Py_ssize_t _offset(self, Py_ssize_t index) except -1
