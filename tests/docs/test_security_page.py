"""What docs/security.md says of scopes is what the code asks for."""

from tests.docs.security_page import PAGE, page


def test_the_tables_are_the_code() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), "run python -m tests.docs.security_page"
