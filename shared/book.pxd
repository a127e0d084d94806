cdef class BookSide:
    cdef readonly dict levels
    cdef public object ranks
    cdef readonly object side
    cdef readonly object sign
    cpdef object enter(self, object key)
    cpdef object leave(self, object key)
    cpdef object nth_key(self, Py_ssize_t n)

cdef class Book:
    cdef readonly BookSide bids
    cdef readonly BookSide asks
    cdef readonly tuple sides
