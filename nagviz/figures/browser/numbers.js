// Numbers: how they are carried, said, and read off the slice.

// Doubles in base64, or the first, the distance and how many.
function numbers(packed) {
  if (typeof packed !== "string") {
    const [first, by, count] = packed;
    return Array.from({ length: count }, (_, i) => first + by * i);
  }
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  return Array.from(new Float64Array(bytes.buffer));
}

const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

// A number in as few of the digits as say it.
function show(value, digits = 4) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
  const near = Number(value.toPrecision(digits));
  if (near === 0 || (Math.abs(near) >= 1e-4 && Math.abs(near) < 1e5)) return String(near).replace("-", "−");
  const [factor, power] = value.toExponential(digits - 1).split("e");
  const plain = String(Number(factor)).replace("-", "−");
  return (plain === "1" ? "" : plain === "−1" ? "−" : plain + "×") + "10" + raised(power);
}

// A step: 12,000.
const counted = (step) => (Number.isInteger(step) && Math.abs(step) < 1e15 ? String(step).replace(/\B(?=(\d{3})+$)/g, ",") : show(step, 9));

// Likewise in all of them, so that a column of numbers, or one that moves, keeps its width.
function full(value, digits = 4) {
  const size = Math.abs(Number(value.toPrecision(digits)));
  if (!Number.isFinite(value) || size === 0 || (size >= 10 ** digits && size < 1e5)) return show(value, digits);
  if (size >= 1e-4 && size < 1e5) return value.toPrecision(digits).replace("-", "−");
  const [factor, power] = value.toExponential(digits - 1).split("e");
  return factor.replace("-", "−") + "×10" + raised(power);
}

const raised = (power) => [...String(Number(power))].map((c) => RAISED[c]).join("");

// The last index whose value is not above; -1 where all are.
function before(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// The slice between its points: linear along both axes; NaN outside, and beside what is not finite.
function read(x, y) {
  const columns = scene.x.length;
  const place = (axis, value) => {
    if (!(value >= axis[0] && value <= axis[axis.length - 1])) return null;
    const i = Math.min(before(axis, value), axis.length - 2);
    return [i, (value - axis[i]) / (axis[i + 1] - axis[i])];
  };
  const [across, up] = [place(scene.x, x), place(scene.y, y)];
  if (!across || !up) return NaN;
  const [[j, b], [i, a]] = [across, up];
  const mix = (one, two, share) => (share === 0 ? one : share === 1 ? two : one * (1 - share) + two * share);
  const row = (k) => mix(scene.values[k * columns + j], scene.values[k * columns + j + 1], b);
  return a === 0 ? row(i) : a === 1 ? row(i + 1) : mix(row(i), row(i + 1), a);
}

const inside = ([x, y]) =>
  x >= scene.x[0] && x <= scene.x.at(-1) && y >= scene.y[0] && y <= scene.y.at(-1);
const told = (point) => (inside(point) ? full(read(...point)) : "outside");
