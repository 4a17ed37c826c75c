"""`python -m wsx`: the command `wsx`. Not here: what it does (wsx/cli)."""

from wsx.cli import main

main()
