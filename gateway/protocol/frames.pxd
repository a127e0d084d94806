cpdef bytes frame(int opcode, bytes payload)
