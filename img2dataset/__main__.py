"""``python -m img2dataset``."""

from img2dataset.main import main

main()
