cimport cython
from depthcast.shared.deep_ranks cimport DeepRanks
from depthcast.shared.level_table cimport LevelTable

cdef bint COMPILED

cdef class BookSide:
    cdef readonly LevelTable levels
    cdef public dict orders
    cdef public object ranks
    cdef readonly object side
    cdef readonly int sign
    @cython.locals(levels=LevelTable)
    cpdef object set_level(self, object price, object quantity)
    @cython.locals(levels=LevelTable)
    cpdef list top(self, object depth=*)
    @cython.locals(rank=longlong, deep=DeepRanks)
    cpdef object add_key(self, long long key)
    @cython.locals(rank=longlong, deep=DeepRanks)
    cpdef object remove_key(self, long long key)
    cpdef object nth_key(self, Py_ssize_t n)

@cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, at_middle=longlong)
cdef Py_ssize_t _place(list ranks, long long rank)

cdef class Book:
    cdef readonly BookSide bids
    cdef readonly BookSide asks
    cdef readonly tuple sides
    cdef public object sizes
