"""Tables: what they name is imported when it is asked for."""

from __future__ import annotations

import subprocess
import sys
import xml.dom.minidom

from img2dataset.tables import load

TABLE = {"xml": "xml.dom.minidom:Document"}
PROGRAM = f"""
import sys
from img2dataset.tables import load
assert "xml.dom.minidom" not in sys.modules
load({TABLE}, "xml")
assert "xml.dom.minidom" in sys.modules
"""


def test_a_name_gives_the_object() -> None:
    assert load(TABLE, "xml") is xml.dom.minidom.Document


def test_its_module_is_imported_when_it_is_asked_for_and_not_before() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
