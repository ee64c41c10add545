import pytest

from irc_support import make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("certificates")
    # ngircd gives up root before it reads its files.
    for parent in (directory, directory.parent):
        parent.chmod(0o755)
    return make_certificates(directory)
