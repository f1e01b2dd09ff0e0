"""Loops over edges that sum NequIP's messages, compiled by numba for the CPU.

A message along edge ``e`` from atom ``j`` to atom ``i`` is made of paths. Each
multiplies ``n`` channels of the sender's features ``x`` by the edge's weights ``w``
and, according to its kind, by its unit vector ``y`` (times √3). With ``f`` a constant,
``g`` an array of the shape of the result, and u running over channels, the sum of all
messages times ``g`` is

    T(x, w, y, g) = Σ_e Σ_u f w[e,u] k(x[j,u], y[e], g[i,u])

with ``k`` linear in each of its arguments:

    scalar   k = x g            scalar to scalar
    vector   k = x · g          vector to vector
    rising   k = x (y · g)      scalar to vector
    dot      k = (x · y) g      vector to scalar
    cross    k = (x × y) · g    vector to vector

T is linear in each argument, too. Hence three loops serve a fit to forces: `forward` is
∂T/∂g; `backward` gives ∂T/∂(x, w, y); `second` gives the gradient of
``T(a, w, y, g) + T(x, b, y, g) + T(x, w, c, g)``, which is what backward's own backward
is, with (a, b, c) the gradients of its three results. Nothing of the size of all edges
and channels is kept but the weights: memory, not arithmetic, limits such loops.

A vector's components lie behind one another, ``x[j, x0 + component * n + u]``; those of
the result ``stride`` apart. A path is (kind, n, w0, x0, g0, stride). Arrays must be
contiguous; ``dx``, ``dg`` and ``out`` are added to and must hold zeros at first.
"""

# ruff: noqa: ANN001, ANN201, C901, PLR0912, PLR0913, PLR0915  a loop each, of arrays
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from numpy import uint64 as index  # needs no test for places counted from the end

from synthzoo.models.acceleration.compiled import compiled

SCALAR, VECTOR, RISING, DOT, CROSS = range(5)


@compiled
def forward(x, w, y, sender, receiver, paths, factors, out):
    """Add the messages to ``out``.

    ``x``, ``w``, ``y``: features ``(atoms, width)``, weights ``(edges, channels)`` and
    unit vectors times √3 ``(edges, 3)``.
    ``sender``, ``receiver``: atoms at the ends of each edge, of shape ``(edges,)``.
    ``paths``, ``factors``: one row, and one factor ``f``, for each path.
    """
    for e in range(sender.shape[0]):
        i, j, k = index(receiver[e]), index(sender[e]), index(e)
        y1, y2, y3 = y[e, 0], y[e, 1], y[e, 2]
        for t in range(factors.shape[0]):
            kind, f = paths[t, 0], factors[t]
            n, o, p = index(paths[t, 1]), index(paths[t, 2]), index(paths[t, 3])
            q, m = index(paths[t, 4]), index(paths[t, 5])
            if kind == SCALAR:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    out[i, q + u] += fw * x1
            elif kind == VECTOR:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    out[i, q + u] += fw * x1
                    out[i, q + m + u] += fw * x2
                    out[i, q + m + m + u] += fw * x3
            elif kind == RISING:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    s = fw * x1
                    out[i, q + u] += s * y1
                    out[i, q + m + u] += s * y2
                    out[i, q + m + m + u] += s * y3
            elif kind == DOT:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    out[i, q + u] += fw * (x1 * y1 + x2 * y2 + x3 * y3)
            else:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    out[i, q + u] += fw * (x2 * y3 - x3 * y2)
                    out[i, q + m + u] += fw * (x3 * y1 - x1 * y3)
                    out[i, q + m + m + u] += fw * (x1 * y2 - x2 * y1)


@compiled
def backward(x, w, y, g, sender, receiver, paths, factors, dx, dw, dy):
    """Put ∂T/∂(x, w, y) into ``dx``, ``dw`` and ``dy``.

    ``sender``, ``receiver``: atoms at the ends of each edge, of shape ``(edges,)``.
    ``paths``, ``factors``: one row, and one factor ``f``, for each path.
    ``dx``, ``dw``, ``dy``: gradients, of the shapes of ``x``, ``w`` and ``y``.
    """
    for e in range(sender.shape[0]):
        i, j, k = index(receiver[e]), index(sender[e]), index(e)
        y1, y2, y3 = y[e, 0], y[e, 1], y[e, 2]
        z1 = z2 = z3 = 0 * y1
        for t in range(factors.shape[0]):
            kind, f = paths[t, 0], factors[t]
            n, o, p = index(paths[t, 1]), index(paths[t, 2]), index(paths[t, 3])
            q, m = index(paths[t, 4]), index(paths[t, 5])
            if kind == SCALAR:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    g1 = g[i, q + u]
                    dx[j, p + u] += fw * g1
                    dw[k, o + u] = f * x1 * g1
            elif kind == VECTOR:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    g1 = g[i, q + u]
                    g2 = g[i, q + m + u]
                    g3 = g[i, q + m + m + u]
                    dx[j, p + u] += fw * g1
                    dx[j, p + n + u] += fw * g2
                    dx[j, p + n + n + u] += fw * g3
                    dw[k, o + u] = f * (x1 * g1 + x2 * g2 + x3 * g3)
            elif kind == RISING:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    g1 = g[i, q + u]
                    g2 = g[i, q + m + u]
                    g3 = g[i, q + m + m + u]
                    yg = y1 * g1 + y2 * g2 + y3 * g3
                    dx[j, p + u] += fw * yg
                    dw[k, o + u] = f * x1 * yg
                    s = fw * x1
                    z1 += s * g1
                    z2 += s * g2
                    z3 += s * g3
            elif kind == DOT:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    g1 = g[i, q + u]
                    s = fw * g1
                    dx[j, p + u] += s * y1
                    dx[j, p + n + u] += s * y2
                    dx[j, p + n + n + u] += s * y3
                    dw[k, o + u] = f * g1 * (x1 * y1 + x2 * y2 + x3 * y3)
                    z1 += s * x1
                    z2 += s * x2
                    z3 += s * x3
            else:
                for u in range(n):
                    fw = f * w[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    g1 = g[i, q + u]
                    g2 = g[i, q + m + u]
                    g3 = g[i, q + m + m + u]
                    dx[j, p + u] += fw * (y2 * g3 - y3 * g2)
                    dx[j, p + n + u] += fw * (y3 * g1 - y1 * g3)
                    dx[j, p + n + n + u] += fw * (y1 * g2 - y2 * g1)
                    r1 = g2 * x3 - g3 * x2
                    r2 = g3 * x1 - g1 * x3
                    r3 = g1 * x2 - g2 * x1
                    dw[k, o + u] = f * (y1 * r1 + y2 * r2 + y3 * r3)
                    z1 += fw * r1
                    z2 += fw * r2
                    z3 += fw * r3
        dy[e, 0], dy[e, 1], dy[e, 2] = z1, z2, z3


@compiled
def second(x, w, y, g, a, b, c, sender, receiver, paths, factors, dx, dw, dy, dg):
    """Put the gradient of T(a,w,y,g) + T(x,b,y,g) + T(x,w,c,g) into the rest.

    ``a``, ``b``, ``c``: gradients of what `backward` gives, of the shapes of ``x``,
    ``w`` and ``y``.
    ``sender``, ``receiver``: atoms at the ends of each edge, of shape ``(edges,)``.
    ``paths``, ``factors``: one row, and one factor ``f``, for each path.
    ``dx``, ``dw``, ``dy``, ``dg``: gradients, of the shapes of ``x``, ``w``, ``y`` and
    ``g``.
    """
    for e in range(sender.shape[0]):
        i, j, k = index(receiver[e]), index(sender[e]), index(e)
        y1, y2, y3 = y[e, 0], y[e, 1], y[e, 2]
        c1, c2, c3 = c[e, 0], c[e, 1], c[e, 2]
        z1 = z2 = z3 = 0 * y1
        for t in range(factors.shape[0]):
            kind, f = paths[t, 0], factors[t]
            n, o, p = index(paths[t, 1]), index(paths[t, 2]), index(paths[t, 3])
            q, m = index(paths[t, 4]), index(paths[t, 5])
            if kind == SCALAR:
                for u in range(n):
                    fw = f * w[k, o + u]
                    fb = f * b[k, o + u]
                    x1 = x[j, p + u]
                    a1 = a[j, p + u]
                    g1 = g[i, q + u]
                    dx[j, p + u] += fb * g1
                    dw[k, o + u] = f * a1 * g1
                    dg[i, q + u] += fw * a1 + fb * x1
            elif kind == VECTOR:
                for u in range(n):
                    fw = f * w[k, o + u]
                    fb = f * b[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    a1 = a[j, p + u]
                    a2 = a[j, p + n + u]
                    a3 = a[j, p + n + n + u]
                    g1 = g[i, q + u]
                    g2 = g[i, q + m + u]
                    g3 = g[i, q + m + m + u]
                    dx[j, p + u] += fb * g1
                    dx[j, p + n + u] += fb * g2
                    dx[j, p + n + n + u] += fb * g3
                    dw[k, o + u] = f * (a1 * g1 + a2 * g2 + a3 * g3)
                    dg[i, q + u] += fw * a1 + fb * x1
                    dg[i, q + m + u] += fw * a2 + fb * x2
                    dg[i, q + m + m + u] += fw * a3 + fb * x3
            elif kind == RISING:
                for u in range(n):
                    fw = f * w[k, o + u]
                    fb = f * b[k, o + u]
                    x1 = x[j, p + u]
                    a1 = a[j, p + u]
                    g1 = g[i, q + u]
                    g2 = g[i, q + m + u]
                    g3 = g[i, q + m + m + u]
                    yg = y1 * g1 + y2 * g2 + y3 * g3
                    cg = c1 * g1 + c2 * g2 + c3 * g3
                    dx[j, p + u] += fb * yg + fw * cg
                    dw[k, o + u] = f * (a1 * yg + x1 * cg)
                    r = fw * a1 + fb * x1
                    s = fw * x1
                    z1 += r * g1
                    z2 += r * g2
                    z3 += r * g3
                    dg[i, q + u] += r * y1 + s * c1
                    dg[i, q + m + u] += r * y2 + s * c2
                    dg[i, q + m + m + u] += r * y3 + s * c3
            elif kind == DOT:
                for u in range(n):
                    fw = f * w[k, o + u]
                    fb = f * b[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    a1 = a[j, p + u]
                    a2 = a[j, p + n + u]
                    a3 = a[j, p + n + n + u]
                    g1 = g[i, q + u]
                    dx[j, p + u] += (fb * y1 + fw * c1) * g1
                    dx[j, p + n + u] += (fb * y2 + fw * c2) * g1
                    dx[j, p + n + n + u] += (fb * y3 + fw * c3) * g1
                    ay = a1 * y1 + a2 * y2 + a3 * y3
                    xc = x1 * c1 + x2 * c2 + x3 * c3
                    dw[k, o + u] = f * g1 * (ay + xc)
                    z1 += (fw * a1 + fb * x1) * g1
                    z2 += (fw * a2 + fb * x2) * g1
                    z3 += (fw * a3 + fb * x3) * g1
                    dg[i, q + u] += fw * (ay + xc) + fb * (x1 * y1 + x2 * y2 + x3 * y3)
            else:
                for u in range(n):
                    fw = f * w[k, o + u]
                    fb = f * b[k, o + u]
                    x1 = x[j, p + u]
                    x2 = x[j, p + n + u]
                    x3 = x[j, p + n + n + u]
                    a1 = a[j, p + u]
                    a2 = a[j, p + n + u]
                    a3 = a[j, p + n + n + u]
                    g1 = g[i, q + u]
                    g2 = g[i, q + m + u]
                    g3 = g[i, q + m + m + u]
                    dx[j, p + u] += fb * (y2 * g3 - y3 * g2) + fw * (c2 * g3 - c3 * g2)
                    dx[j, p + n + u] += fb * (y3 * g1 - y1 * g3) + fw * (
                        c3 * g1 - c1 * g3
                    )
                    dx[j, p + n + n + u] += fb * (y1 * g2 - y2 * g1) + fw * (
                        c1 * g2 - c2 * g1
                    )
                    r1 = a2 * y3 - a3 * y2 + x2 * c3 - x3 * c2
                    r2 = a3 * y1 - a1 * y3 + x3 * c1 - x1 * c3
                    r3 = a1 * y2 - a2 * y1 + x1 * c2 - x2 * c1
                    dw[k, o + u] = f * (g1 * r1 + g2 * r2 + g3 * r3)
                    z1 += fw * (g2 * a3 - g3 * a2) + fb * (g2 * x3 - g3 * x2)
                    z2 += fw * (g3 * a1 - g1 * a3) + fb * (g3 * x1 - g1 * x3)
                    z3 += fw * (g1 * a2 - g2 * a1) + fb * (g1 * x2 - g2 * x1)
                    dg[i, q + u] += fw * r1 + fb * (x2 * y3 - x3 * y2)
                    dg[i, q + m + u] += fw * r2 + fb * (x3 * y1 - x1 * y3)
                    dg[i, q + m + m + u] += fw * r3 + fb * (x1 * y2 - x2 * y1)
        dy[e, 0], dy[e, 1], dy[e, 2] = z1, z2, z3
