cpdef object unpack(object raw, object what)
cpdef object decode_delta(object raw)
cdef bint _in_range(object flat, object least_quantity) except -1
