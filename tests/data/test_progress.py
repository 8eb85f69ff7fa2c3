"""Long work tells its listener what is done and how far it is."""

from exitwave.data.progress import in_parts, listening


def test_the_listener_hears_of_every_part_and_of_the_end():
    heard = []
    with listening(lambda *told: heard.append(told)):
        assert list(in_parts("counting", "abc")) == ["a", "b", "c"]
    assert heard == [("counting", 0, 3), ("counting", 1, 3), ("counting", 2, 3), ("counting", 3, 3)]
    list(in_parts("nobody listens", "ab"))
    assert len(heard) == 4
