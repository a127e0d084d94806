cimport cython

cdef class Piece:
    cdef public object base
    cdef public object ends
    cdef public object history
    cdef public bytearray packed
    cdef public long long until

cdef class BookHistory:
    cdef public object doubt
    cdef public tuple newest
    cdef public object pieces
    cdef public object replica

cdef class BookHistories:
    cdef public long long bytes
    cdef long long _keep_us
    cdef long long _piece_us
    cdef long long _bytes_max
    cdef Py_ssize_t _piece_bytes_max
    cdef object _counters
    cdef object _order
    @cython.locals(piece=Piece, oldest=Piece, packed=bytearray, change=bytes)
    cpdef object append(self, BookHistory history, object number, long long ts, object changes, object event_ts=*)
    @cython.locals(piece=Piece)
    cpdef object end(self, BookHistory history)
    cdef Piece _begin_piece(self, BookHistory history, long long ts)
    cdef object _drop(self, long long ts)
    @cython.locals(piece=Piece)
    cdef object _drop_oldest(self)
