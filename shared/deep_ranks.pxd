cimport cython
from cpython.array cimport array

cdef bint COMPILED
cdef Py_ssize_t CHUNK_MAX
cdef Py_ssize_t CHUNK_MIN

cdef class DeepRanks:
    cdef list _chunks
    cdef array _greatest
    cdef Py_ssize_t _size
    @cython.locals(chunks=list, greatest=array, chunk=array, at=Py_ssize_t)
    cpdef object add(self, long long rank)
    @cython.locals(chunks=list, greatest=array, chunk=array, at=Py_ssize_t, within=Py_ssize_t, size=Py_ssize_t)
    cpdef object remove(self, long long rank)

@cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, items=cython.p_longlong)
cdef Py_ssize_t place(array numbers, long long number)

@cython.locals(before=Py_ssize_t, at=Py_ssize_t, items=cython.p_longlong)
cdef Py_ssize_t place_within(array chunk, long long number)
