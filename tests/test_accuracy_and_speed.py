"""The table of accuracy and speed in the documentation, and its figure."""

from pathlib import Path

from benchmarks.accuracy_and_speed import draw, read_points

PAGE = Path(__file__).parents[1] / "docs/speed.md"


def test_the_table_on_the_page_is_read(tmp_path: Path) -> None:
    """Times, energies and forces; what was carried over from another test is marked."""
    points = read_points(PAGE.read_text(encoding="utf-8"))
    first = points[0]
    assert (first.name, first.fitted) == ("`carbon`", "25 structures")
    time_ms, energy, force = first.values
    assert 1 < time_ms < 10
    assert 10 < energy < 100
    assert force < 1
    assert [point.name for point in points if point.carried_over] == ["SevenNet-0"]
    draw(points, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").is_file()
