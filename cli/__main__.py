"""`python -m cli`: the command line without an installed `dragoman`."""

from cli.main import main

main(prog_name="dragoman")
