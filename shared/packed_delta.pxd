cimport cython
from cpython.array cimport array

cdef array _NUMBER
cdef long long _MOST

@cython.locals(reader=_Reader)
cpdef object read_packed_delta(bytes raw)

@cython.final
cdef class _Reader:
    cdef bytes _raw
    cdef Py_ssize_t _size
    cdef Py_ssize_t _at
    cdef bint _failed
    @cython.locals(
        items=Py_ssize_t, prev_seq=cython.longlong, seq=cython.longlong, bids=array, asks=array, digest=cython.longlong,
        events=cython.longlong,
    )
    cdef object delta(self)
    @cython.locals(raw=cython.p_uchar, at=Py_ssize_t)
    cdef Py_ssize_t _array_size(self)
    @cython.locals(
        count=Py_ssize_t, numbers=array, items=cython.p_longlong, most=cython.longlong, at=Py_ssize_t,
        price=cython.longlong, quantity=cython.longlong,
    )
    cdef array _levels(self)
    @cython.locals(
        raw=cython.p_uchar, at=Py_ssize_t, place=Py_ssize_t, kind=cython.int, width=cython.int, is_high=bint, number=cython.longlong,
        wrap=cython.longlong,
    )
    cdef long long _number(self) noexcept
