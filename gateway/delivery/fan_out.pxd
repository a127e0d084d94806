cimport cython

@cython.locals(size=cython.Py_ssize_t, sent=cython.Py_ssize_t, short=list)
cpdef list write_to_each(dict sends, bytes data)
