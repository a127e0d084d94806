cpdef bytes encode(dict message, object encoding)

cdef list _pairs(object rows)

cdef dict _grouped(dict message, object group_ticks)
