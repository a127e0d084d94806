cimport cython
from cpython.array cimport array

cdef Py_ssize_t _ITEMS
cdef array _ROW
cdef bytes _NUMBERS

cdef class LevelRows:
    cdef readonly array numbers
    cdef long long* items
    cdef readonly Py_ssize_t size
    cdef void use(self, array numbers) noexcept
    @cython.locals(rows=cython.p_longlong)
    cdef tuple _row(self, Py_ssize_t at)

cpdef array numbers_for(Py_ssize_t count)

@cython.locals(made=LevelRows)
cpdef LevelRows rows_of(array numbers)

cpdef bytes packed_rows(object bids, object asks)
