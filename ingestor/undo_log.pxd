cimport cython
from cpython.array cimport array

cdef bint COMPILED
cdef array _NUMBERS

cdef class UndoLog:
    cdef array _array
    cdef long long* _numbers
    cdef Py_ssize_t _count
    cdef Py_ssize_t _room
    cdef void _use(self, array numbers) noexcept
    @cython.locals(at=Py_ssize_t)
    cdef int push(self, long long side, long long price, long long old) except -1
