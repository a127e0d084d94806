cimport cython
from cpython.array cimport array
from depthcast.shared.level_rows cimport LevelRows

cdef array _PAGE
cdef Py_ssize_t _SIZE
cdef Py_ssize_t _HEADER
cdef Py_ssize_t _SHORT_HEADER
cdef Py_ssize_t _SHORT
cdef int _FIRST
cdef Py_ssize_t _ROW_MAX
cdef Py_ssize_t _REST_MAX
cdef bytes _SEQ
cdef bytes _TS
cdef bytes _BIDS
cdef bytes _ASKS
cdef bytes _MERGED
cdef bytes _DIGEST
cdef bytes _EVENT_TS
cdef bytes _GROUP
cdef unsigned char _MINUS
cdef unsigned char _ZERO
cdef unsigned char _COMMA
cdef unsigned char _OPEN
cdef unsigned char _CLOSE
cdef unsigned char _END

@cython.locals(size=Py_ssize_t, page=cython.p_uchar, at=Py_ssize_t, bid_rows=LevelRows, ask_rows=LevelRows)
cpdef object delta_frame(bytes beginning, object delta, long long merged, long long group_ticks)

@cython.locals(characters=cython.p_uchar, place=Py_ssize_t)
cdef Py_ssize_t _text(unsigned char* page, Py_ssize_t at, bytes text, Py_ssize_t size) noexcept

@cython.locals(left=cython.ulonglong, rest=cython.ulonglong, digits=Py_ssize_t, place=Py_ssize_t)
cdef Py_ssize_t _number(unsigned char* page, Py_ssize_t at, long long number) noexcept

@cython.locals(numbers=cython.p_longlong, row=Py_ssize_t)
cdef Py_ssize_t _rows(unsigned char* page, Py_ssize_t at, LevelRows rows) noexcept
