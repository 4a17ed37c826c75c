# Marks wsx as a package for `cimport`; each module's own .pxd says what it shares.
