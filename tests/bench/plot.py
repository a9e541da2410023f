"""A curve as SVG, without a library: one line over a logarithmic axis, a label per point."""

from collections.abc import Sequence
from math import log10
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 64, 24, 40, 56


def svg(title: str, x_label: str, y_label: str, points: Sequence[tuple[float, float]]) -> str:
    """``points`` are (x, y); x grows by magnitudes, y starts at zero."""
    places = [_log(x) for x, _ in points]
    low, high = min(places), max(places)
    top = max(y for _, y in points) * 1.2 or 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = (_log(x) - low) / (high - low) if high > low else 0.5
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    drawn = [at(x, y) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        "<style>text { font: 12px sans-serif }</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
        *(_grid(share * top, at(points[0][0], share * top)[1]) for share in (0, 0.25, 0.5, 0.75, 1)),
        f'<polyline points="{line}" fill="none" stroke="#0b61a4" stroke-width="2"/>',
    ]
    for (x, y), (across, down) in zip(points, drawn, strict=True):
        parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="4" fill="#0b61a4"/>')
        parts.append(f'<text x="{across:.1f}" y="{down - 10:.1f}" text-anchor="middle">{y:.3g}</text>')
        parts.append(f'<text x="{across:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{x:,g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(
        f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})">'
        f"{escape(y_label)}</text>"
    )
    return "\n".join([*parts, "</svg>", ""])


def _log(x: float) -> float:
    return log10(max(x, 1))


def _grid(value: float, down: float) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down:.1f}" y2="{down:.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 8}" y="{down + 4:.1f}" text-anchor="end" fill="#666">{value:.3g}</text>'
    )
