cimport cython
from shared.book cimport Book, BookSide

cdef class Merger:
    cdef public Book book
    cdef public object seq
    cdef public object digest
    cdef public object events
    cdef public tuple pending
    @cython.locals(pending=dict, net=list, levels=dict)
    cpdef list _settle(self, int side)
