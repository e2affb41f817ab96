"""Arguments of scripts as names and values."""

from runyard_server.domain.run_arguments import named, number


def test_options_have_their_values() -> None:
    said = ["data", "--lr", "0.1", "--epochs=3", "-v", "--momentum", "-0.9", "--lr", "0.2", "+model.depth=5", "--last"]
    assert named(said) == {
        "lr": "0.2",
        "epochs": "3",
        "v": "true",
        "momentum": "-0.9",
        "model.depth": "5",
        "last": "true",
    }


def test_only_finite_numbers_are_numbers() -> None:
    assert [number(text) for text in ("1e-3", " 2 ", "nan", "inf", "1_000", "0x1", "")] == [0.001, 2.0, *[None] * 5]
