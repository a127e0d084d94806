cimport cython
from cpython.array cimport array, clone
from depthcast.shared.level_table cimport fetch_line, use_large_pages

cdef bint COMPILED
cdef Py_ssize_t STRIDE
cdef Py_ssize_t LINE
cdef Py_ssize_t BLOCK_MAX
cdef Py_ssize_t BLOCK_LOADED
cdef Py_ssize_t BLOCK_MIN
cdef array _NOTHING

cdef class RankBlocks:
    cdef array _numbers_array
    cdef array _greatest_array
    cdef array _ids_array
    cdef long long* _numbers
    cdef long long* _greatest
    cdef long long* _ids
    cdef Py_ssize_t _count
    cdef Py_ssize_t _room
    cdef Py_ssize_t _free
    cdef Py_ssize_t _size
    @cython.locals(
        old=Py_ssize_t, more=Py_ssize_t, numbers=array, into=cython.p_longlong, block=Py_ssize_t, place=Py_ssize_t,
    )
    cdef int _make_room(self, Py_ssize_t room) except -1
    @cython.locals(base=Py_ssize_t, left=Py_ssize_t, rank=cython.longlong)
    cdef int _append_all(self, object ranks) except -1
    @cython.locals(block=Py_ssize_t, base=Py_ssize_t, place=Py_ssize_t)
    cdef Py_ssize_t _open(self, Py_ssize_t at) noexcept
    @cython.locals(block=Py_ssize_t, place=Py_ssize_t)
    cdef int _close(self, Py_ssize_t at) noexcept
    @cython.locals(
        at=Py_ssize_t, numbers=cython.p_longlong, base=Py_ssize_t, count=Py_ssize_t, within=Py_ssize_t,
        place=Py_ssize_t,
    )
    cpdef int add(self, long long rank) except -1
    @cython.locals(at=Py_ssize_t, end=Py_ssize_t, base=Py_ssize_t, place=Py_ssize_t)
    cdef void fetch(self, long long rank) noexcept
    @cython.locals(
        base=Py_ssize_t, upper=Py_ssize_t, numbers=cython.p_longlong, kept=Py_ssize_t, moved=Py_ssize_t,
        place=Py_ssize_t,
    )
    cdef int _split(self, Py_ssize_t at) noexcept
    @cython.locals(
        at=Py_ssize_t, numbers=cython.p_longlong, base=Py_ssize_t, count=Py_ssize_t, within=Py_ssize_t,
        place=Py_ssize_t,
    )
    cpdef int remove(self, long long rank) except -1
    @cython.locals(
        numbers=cython.p_longlong, size=Py_ssize_t, first=Py_ssize_t, lower=Py_ssize_t, upper=Py_ssize_t,
        place=Py_ssize_t,
    )
    cdef int _join(self, Py_ssize_t at) noexcept
    @cython.locals(numbers=cython.p_longlong, left=Py_ssize_t, at=Py_ssize_t, base=Py_ssize_t)
    cdef long long from_end(self, Py_ssize_t index) noexcept
    cdef void _use(self, Py_ssize_t room, array numbers, array greatest, array ids) noexcept
    cdef object _take(self, RankBlocks other)
    @cython.locals(
        found=list, lowest=cython.longlong, highest=cython.longlong, last=Py_ssize_t, left=Py_ssize_t, at=Py_ssize_t,
        base=Py_ssize_t, count=Py_ssize_t, place=Py_ssize_t,
    )
    cpdef list descending(self, object below, object least, Py_ssize_t most=*)
    @cython.locals(found=list, at=Py_ssize_t, base=Py_ssize_t, place=Py_ssize_t)
    cpdef list tolist(self)

@cython.locals(low=Py_ssize_t, size=Py_ssize_t, half=Py_ssize_t)
cdef Py_ssize_t place_of(long long* numbers, Py_ssize_t start, Py_ssize_t count, long long number) noexcept
