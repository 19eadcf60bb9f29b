"""``python -m img2dataset``."""

from img2dataset.command_line import main

main()
