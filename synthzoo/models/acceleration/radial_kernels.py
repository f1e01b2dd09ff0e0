"""Loops over edges that read radial functions from a table, compiled by numba.

A function of the distance is a cubic polynomial between two points of a table
(Hermite's interpolation: values and slopes are right at both ends). With t in [0, 1]
the place in the interval, T the value at its beginning, S the step to the value at its
end, and D, D' the slopes at the two ends times the interval's length,

    w(t) = T + (3t² - 2t³) S + (t³ - 2t² + t) D + (t³ - t²) D'

A table is four arrays of T, S, D and D', ``(intervals, channels)`` each. The step is
stored since the difference of two rounded values would make slopes coarse.

Edges are visited in the order that is given, by interval, so that the rows of the table
stay in the processor's fastest cache. Arrays must be contiguous.
"""

# ruff: noqa: ANN001, ANN201, PLR0913  loops over arrays, and what they share
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from numpy import uint64 as index  # needs no test for places counted from the end

from synthzoo.models.acceleration.compiled import compiled, inlined


@inlined
def weights(t):
    """Return what the step and the two slopes are multiplied by in w(t)."""
    return t * t * (3 - 2 * t), t * (t - 1) * (t - 1), t * t * (t - 1)


@inlined
def weight_slopes(t):
    """Return the derivatives of `weights`."""
    return 6 * t * (1 - t), (3 * t - 1) * (t - 1), t * (3 * t - 2)


@compiled
def values(order, interval, t, starts, steps, lefts, rights, w):
    """Put w(t) into ``w``.

    ``order``, ``interval``: edges by interval, and the interval of each edge, of shape
    ``(edges,)``.
    ``w``: result, of shape ``(edges, channels)``.
    """
    for n in range(order.shape[0]):
        e = index(order[n])
        i = index(interval[e])
        b, c, d = weights(t[e])
        for u in range(index(w.shape[1])):
            w[e, u] = (
                starts[i, u] + b * steps[i, u] + c * lefts[i, u] + d * rights[i, u]
            )


@compiled
def spread(order, interval, t, g, d_starts, d_steps, d_lefts, d_rights):
    """Add the gradient of Σ g w with respect to the table.

    ``order``, ``interval``: edges by interval, and the interval of each edge, of shape
    ``(edges,)``.
    ``g``: factors, of shape ``(edges, channels)``.
    ``d_starts``, ``d_steps``, ``d_lefts``, ``d_rights``: result, of the shapes of the
    table; they hold zeros at first.
    """
    for n in range(order.shape[0]):
        e = index(order[n])
        i = index(interval[e])
        b, c, d = weights(t[e])
        for u in range(index(g.shape[1])):
            x = g[e, u]
            d_starts[i, u] += x
            d_steps[i, u] += b * x
            d_lefts[i, u] += c * x
            d_rights[i, u] += d * x


@compiled
def slope(order, interval, t, steps, lefts, rights, g, dt):
    """Put Σ g w'(t), summed over the channels, into ``dt``.

    ``order``, ``interval``: edges by interval, and the interval of each edge, of shape
    ``(edges,)``.
    ``g``: factors, of shape ``(edges, channels)``.
    ``dt``: result, of shape ``(edges,)``.
    """
    for n in range(order.shape[0]):
        e = index(order[n])
        i = index(interval[e])
        b, c, d = weight_slopes(t[e])
        total = 0 * t[e]
        for u in range(index(g.shape[1])):
            w = b * steps[i, u] + c * lefts[i, u] + d * rights[i, u]
            total += g[e, u] * w
        dt[e] = total


@compiled
def second(
    order,
    interval,
    t,
    steps,
    lefts,
    rights,
    g,
    a,
    dt,
    d_steps,
    d_lefts,
    d_rights,
    dg,
):
    """Put the gradient of Σ a g w'(t) into the rest; `slope` is differentiated by it.

    ``order``, ``interval``: edges by interval, and the interval of each edge, of shape
    ``(edges,)``.
    ``g``: factors, of shape ``(edges, channels)``.
    ``a``: gradient of what `slope` gives, of shape ``(edges,)``.
    ``dt``, ``d_steps``, ``d_lefts``, ``d_rights``, ``dg``: gradients; those of the
    table hold zeros at first.
    """
    for n in range(order.shape[0]):
        e = index(order[n])
        i = index(interval[e])
        s = t[e]
        b, c, d = weight_slopes(s)
        b, c, d = b * a[e], c * a[e], d * a[e]
        b2 = (6 - 12 * s) * a[e]
        c2 = (6 * s - 4) * a[e]
        d2 = (6 * s - 2) * a[e]
        total = 0 * s
        for u in range(index(g.shape[1])):
            step, left, right, x = steps[i, u], lefts[i, u], rights[i, u], g[e, u]
            dg[e, u] = b * step + c * left + d * right
            total += x * (b2 * step + c2 * left + d2 * right)
            d_steps[i, u] += b * x
            d_lefts[i, u] += c * x
            d_rights[i, u] += d * x
        dt[e] = total
