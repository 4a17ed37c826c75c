# Nothing for Python: what it holds is for cimport (_book_message.pxd).
