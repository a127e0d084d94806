cimport cython
from cpython.array cimport array
from depthcast.shared.level_rows cimport LevelRows

cdef bint COMPILED
cdef array THOUSANDS
cdef int DIGITS_MAX

@cython.final
cdef class SideWeights:
    cdef object _weight_of
    cdef list _tails
    cdef long long _start
    cdef long long _end
    cdef unsigned long long _start_weight
    cdef array _zeros_array
    cdef unsigned int* _zeros
    cdef unsigned int* _thousands
    # A weight is odd: 0 says that an error was raised.
    @cython.locals(tail=cython.ulonglong)
    cpdef unsigned long long of(self, long long price) except 0
    @cython.locals(
        step=cython.ulonglong, digits=cython.int, left=cython.ulonglong, weight=cython.uint, at=cython.ulonglong,
    )
    cdef unsigned long long _put_together(self, long long price) noexcept
    # Of moved only the lowest 32 bits count: whatever is beyond 64 bits may be lost.
    cpdef object moved_by(self, object changes)
    @cython.locals(moved=cython.ulonglong, price=cython.longlong, new=cython.longlong, old=cython.longlong)
    cdef unsigned long long moved_64(self, object changes) except? 1
    @cython.locals(rows=cython.p_longlong, moved=cython.ulonglong, at=Py_ssize_t, row=Py_ssize_t, items=Py_ssize_t)
    cdef unsigned long long _moved_by_rows(self, LevelRows changes) except? 1
    @cython.locals(step=cython.longlong, start=cython.longlong, end=cython.longlong)
    cdef int _restart(self, long long price) except -1
