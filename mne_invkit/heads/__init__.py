"""Head models: the template that needs no MRI, its surfaces, electrodes and conductivities."""
