"""`python -m augcompress` is the command `augcompress`."""

from augcompress.cli import main

main()
