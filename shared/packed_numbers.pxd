cimport cython

cdef class NumberReader:
    cdef bytes raw
    cdef Py_ssize_t size
    cdef Py_ssize_t at
    cdef bint failed
    @cython.locals(
        raw=cython.p_uchar, at=Py_ssize_t, place=Py_ssize_t, kind=cython.int, width=cython.int, is_high=bint, number=cython.longlong,
        wrap=cython.longlong,
    )
    cdef long long number(self) noexcept
