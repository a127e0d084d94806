cimport cython
from depthcast.ingestor.book_state cimport BookState

cdef class LevelsState(BookState):
    @cython.locals(applied=Py_ssize_t, ignored=Py_ssize_t, refused=list, levels=dict, pending=dict, logs=bint)
    cpdef object _run(self, object events)
