"""How long nothing was heard, by the patience of who listens."""

from runyard_server.domain.patience import Patience


def test_silence_begins_when_a_sign_is_first_seen_here() -> None:
    patience = Patience()
    assert patience.silence_of("a", 1.0, now=100.0) == 0.0
    assert patience.silence_of("a", 1.0, now=130.0) == 30.0
    assert patience.silence_of("b", 1.0, now=130.0) == 0.0


def test_any_other_sign_is_a_new_one_even_an_earlier_time() -> None:
    patience = Patience()
    patience.silence_of("a", 5000.0, now=100.0)
    assert patience.silence_of("a", 1400.0, now=130.0) == 0.0  # the clock of who wrote it was set back
    assert patience.silence_of("a", 1400.0, now=131.0) == 1.0


def test_whoever_was_never_heard_is_silent_from_the_first_look_on() -> None:
    patience = Patience()
    assert "a" not in patience
    assert patience.silence_of("a", None, now=1.0) == 0.0
    assert "a" in patience
    assert patience.silence_of("a", None, now=61.0) == 60.0


def test_whoever_is_not_asked_about_is_forgotten_and_nobody_else() -> None:
    patience = Patience()
    patience.silence_of("gone", 1, now=0.0)
    for minute in range(30):
        patience.silence_of("here", 1, now=minute * 60.0)
    assert "gone" not in patience
    assert patience.silence_of("here", 1, now=1800.0) == 1800.0
