cimport cython
from cpython.array cimport array
from depthcast.shared.level_table cimport LevelTable, NumberMap

cdef bint COMPILED
cdef long long GONE
cdef Py_ssize_t ROOM_MIN
cdef Py_ssize_t ROOM_KEPT_MIN
cdef Py_ssize_t _KEPT_MAX
cdef Py_ssize_t _PAIR_BYTES
cdef Py_ssize_t _kept_bytes
cdef array _PAIR

cdef class PendingTable(NumberMap):
    cdef LevelTable _places
    cdef array _array
    cdef long long* _pairs
    cdef Py_ssize_t _before
    cdef Py_ssize_t _count
    cdef Py_ssize_t _room
    cdef Py_ssize_t _kept
    cdef void _use(self, Py_ssize_t room, array pairs) noexcept
    @cython.locals(place=Py_ssize_t)
    cdef Py_ssize_t place_of(self, long long number) noexcept
    cdef void fetch(self, long long number) noexcept
    cdef long long value_at(self, Py_ssize_t place) noexcept
    cdef Py_ssize_t end(self) noexcept
    cdef long long number_at(self, Py_ssize_t place) noexcept
    cdef int note(self, long long number, long long value) except -1
    @cython.locals(place=Py_ssize_t)
    cdef int put(self, long long number, long long value) except -1
    cdef int _append(self, long long number, long long value) except -1
    @cython.locals(kept=Py_ssize_t, index=Py_ssize_t, value=cython.longlong, number=cython.longlong)
    cdef int _make_room(self) except -1
    @cython.locals(usual=Py_ssize_t)
    cpdef object clear(self)
    @cython.locals(size=Py_ssize_t, needed=bint)
    cdef bint _may_keep(self, Py_ssize_t usual) noexcept
    cdef int drop_at(self, Py_ssize_t place) except -1
