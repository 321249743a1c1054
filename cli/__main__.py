"""`python -m cli`: the command where no `dragoman` is installed."""

from cli.main import main

main(prog_name="dragoman")
