"""Error messages."""

from irec_jax.errors import UserError


def test_message_is_one_printable_line():
    error = UserError("a\nb\r\x1b[31m\udc80.wav: is empty; record it again – 'ü'")
    assert str(error) == "a�b��[31m�.wav: is empty; record it again – 'ü'"
