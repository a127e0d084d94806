cimport cython
from cpython.array cimport array
from depthcast.shared.packed_numbers cimport NumberReader

cdef Py_ssize_t ITEMS
cdef int _FIXED_ARRAY
cdef int _ARRAY_16
cdef array _NUMBER
cdef long long _MOST
cdef long long _LARGEST
cdef Py_ssize_t _COMPARED

@cython.locals(reader=_Reader)
cpdef object read_packed_delta(bytes raw)

@cython.final
cdef class _Reader(NumberReader):
    @cython.locals(
        items=Py_ssize_t, prev_seq=cython.longlong, seq=cython.longlong, bids=array, asks=array, digest=cython.longlong,
        events=cython.longlong,
    )
    cdef object delta(self)
    @cython.locals(raw=cython.p_uchar, at=Py_ssize_t)
    cdef Py_ssize_t _array_size(self)
    @cython.locals(
        count=Py_ssize_t, numbers=array, items=cython.p_longlong, most=cython.longlong, levels=Py_ssize_t, level=Py_ssize_t,
        before=Py_ssize_t,
        price=cython.longlong, quantity=cython.longlong,
    )
    cdef array _levels(self)
