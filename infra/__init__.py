"""How Andon is run: the process stack of one machine, command line, enrolment of devices, doctor, rehearsals."""
