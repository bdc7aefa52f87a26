"""NiiVue as it was published, and the page's own files without a foreign address."""

import hashlib
import re
from configparser import ConfigParser
from fnmatch import fnmatch
from pathlib import Path

from nnunet_chordoma.viewer.page import NIIVUE, WEB, page_files

NIIVUE_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"


def test_niivue_is_the_pinned_one():
    assert hashlib.sha256((WEB / NIIVUE).read_bytes()).hexdigest() == NIIVUE_SHA256
    readme = (WEB / "vendor" / "README.md").read_text()
    assert NIIVUE_SHA256 in readme
    assert "0.69.0" in readme
    assert "Redistribution and use in source and binary forms" in (WEB / "vendor" / "LICENSE").read_text()


def test_our_own_files_name_no_address():
    own = [path for name, path in page_files().items() if not name.startswith("vendor/")]
    assert len(own) > 10
    for path in own:
        assert not re.search(r"https?://|//[a-z]+\.[a-z]", path.read_text()), path


def test_every_module_is_imported_and_there():
    for name, path in page_files().items():
        if path.suffix == ".js" and not name.startswith("vendor/"):
            for imported in re.findall(r'from "\./(\w+\.js)"', path.read_text()):
                assert (WEB / imported).is_file(), (name, imported)


def test_every_file_of_the_page_is_installed():
    config = ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    patterns = config["options.package_data"]["nnunet_chordoma.viewer"].split(", ")
    for name in [*page_files(), "vendor/LICENSE", "vendor/README.md"]:
        path = f"web/{name}"
        matching = [each for each in patterns if fnmatch(path, each) and each.count("/") == path.count("/")]
        assert matching, name
