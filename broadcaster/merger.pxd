cimport cython
from depthcast.shared.book cimport Book, BookSide

cdef class Merger:
    cdef public Book book
    cdef public object seq
    cdef public object digest
    cdef public object events
    cdef public tuple pending
    cpdef object drain(self, object least)
    # Prices and quantities of a book are within ±(2**53 - 1). The digest moves mod 2**64, which its own modulus divides.
    @cython.locals(
        pending=dict, net=list, levels=dict, tails=list, old=cython.longlong, new=cython.longlong,
        ticks=cython.longlong, step=cython.longlong, start=cython.longlong, end=cython.longlong,
        first=cython.ulonglong, tail=cython.ulonglong, moved=cython.ulonglong,
    )
    cpdef list _settle(self, int side)
