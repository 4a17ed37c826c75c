"""What an installed wsx must be able to do, wherever it came from: the check of a wheel and of a source distribution.

Needs nothing but the installed package; run it from a folder outside the source tree.
"""

import wsx

print(f"wsx {wsx.__version__} from {wsx.__file__}")
