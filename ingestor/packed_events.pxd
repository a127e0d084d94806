cimport cython
from cpython.array cimport array
from depthcast.shared.packed_numbers cimport NumberReader

cdef long long _NONE
cdef int _NIL
cdef int _FIXED_ARRAY
cdef int _ARRAY_16
cdef int _ARRAY_32

@cython.locals(reader=_Reader, count=Py_ssize_t, numbers=array)
cpdef object read_packed(bytes raw)

@cython.final
cdef class _Reader(NumberReader):
    @cython.locals(raw=cython.p_uchar, count=Py_ssize_t)
    cdef Py_ssize_t begin(self)
    @cython.locals(raw=cython.p_uchar, kind=cython.int)
    cdef Py_ssize_t items(self)
    @cython.locals(
        raw=cython.p_uchar, items=cython.p_longlong, event=Py_ssize_t, at=Py_ssize_t, op=cython.longlong,
        side=cython.longlong, price=cython.longlong, quantity=cython.longlong, step=Py_ssize_t, begin=cython.int,
        ops=cython.longlong, most=cython.longlong,
    )
    cdef bint fill(self, array numbers, Py_ssize_t count)
    @cython.locals(
        raw=cython.p_uchar, items=cython.p_longlong, event=Py_ssize_t, at=Py_ssize_t, op=cython.longlong,
        side=cython.longlong, price=cython.longlong, quantity=cython.longlong, order_id=cython.longlong,
        step=Py_ssize_t, begin=cython.int, ops=cython.longlong, most=cython.longlong, none=cython.longlong,
    )
    cdef bint fill_orders(self, array numbers, Py_ssize_t count)
    @cython.locals(raw=cython.p_uchar)
    cdef long long _optional(self)
