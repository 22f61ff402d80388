// The colour bar.

function drawBar() {
  const box = $("bar");
  box.replaceChildren();
  plot.bar = null;
  if (!scene.bar) return;
  put(box, "p", {}, scene.quantity);
  const { edges, colors, ticks, under, over } = scene.bar;
  const [tip, height, pad] = [11, 13, 8];
  const svg = canvas(box, box.clientWidth, height + 24, { role: "img", "aria-label": `colours of ${scene.quantity}` });
  const left = pad + (under ? tip : 0);
  const right = box.clientWidth - pad - (over ? tip : 0);
  const width = (right - left) / (edges.length - 1);
  const fill = (index) => `fill:${color(colors[index])}`;
  for (let i = 0; i + 1 < edges.length; i++) {
    put(svg, "rect", { x: left + i * width, width: width + 0.3, height, style: fill(i + (under ? 1 : 0)) });
  }
  if (under) put(svg, "path", { d: `M${left} 0L${left - tip} ${height / 2}L${left} ${height}Z`, style: fill(0) });
  if (over) put(svg, "path", { d: `M${right} 0L${right + tip} ${height / 2}L${right} ${height}Z`, style: fill(colors.length - 1) });
  const first = under ? `L${left - tip} ${height / 2}` : "";
  const last = over ? `L${right + tip} ${height / 2}` : "";
  put(svg, "path", { d: `M${left} ${height}${first}L${left} 0L${right} 0${last}L${right} ${height}Z`, class: "frame" });
  const at = (value) => {
    if (value < edges[0]) return left - tip / 2;
    if (value > edges.at(-1)) return right + tip / 2;
    const i = Math.min(before(edges, value), edges.length - 2);
    return left + (i + (value - edges[i]) / (edges[i + 1] - edges[i])) * width;
  };
  let free = -Infinity;
  for (const tick of ticks) {
    const [x, words] = [at(tick), show(tick)];
    const half = 3.6 * words.length;
    if (x - half < free) continue;
    free = x + half + 6;
    put(svg, "line", { x1: x, x2: x, y1: height, y2: height + 4, class: "tick" });
    put(svg, "text", { x: Math.min(Math.max(x, half), box.clientWidth - half), y: height + 17, "text-anchor": "middle" }, words);
  }
  plot.bar = { at, pointer: put(svg, "path", { d: "M-5 -7H5L0 0Z", style: "fill:var(--ink)", visibility: "hidden" }) };
}

function pointBar(value) {
  if (!plot.bar) return;
  const seen = Number.isFinite(value);
  plot.bar.pointer.setAttribute("visibility", seen ? "visible" : "hidden");
  if (seen) plot.bar.pointer.setAttribute("transform", `translate(${round(plot.bar.at(value))} 0)`);
}
