// The page's behaviour: parse formulas, which are never run as code, compute their curves, and draw them.
const data = JSON.parse(document.getElementById("data").textContent);
const at = (id) => document.getElementById(id);
const rows = new Map(data.rows.map((row) => [row.name, row]));
const custom = rows.get(data.custom);
const POINTS = 2000;  // curves are computed at the midpoints of this many parts of (0, 1)

// ---- formulas: the language, its limits and its error messages are those of layers/formula.py

const OPERATIONS = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b,
  "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "==": (a, b) => a === b, "!=": (a, b) => a !== b, "<": (a, b) => a < b, ">": (a, b) => a > b,
};
const COMPARISONS = ["<=", ">=", "==", "!=", "<", ">"];
const TOKEN = / *(?:(?<number>(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?<name>[A-Za-z_][A-Za-z_0-9]*)|(?<sign>\*\*|--|&&|\|\||<=|>=|==|!=|[-+*\/(),?:<>^=])|(?<end>$))/y;
const ALONE = "a comparison needs a choice: write it as in p > 0.5 ? 1 : 0";

// Returns a function of { p, parameters, round } that computes a formula, and rounds each step's result. Each rule returns [such a
// function, whether it is a comparison].
function compile(text, names) {
  let kind, token, position, next = 0, nesting = 0, stack = 0;
  const fail = (message, index = position) => {
    throw new Error(`formula, character ${index + 1}: ${message}\n    ${text.slice(0, data.most)}\n    ${" ".repeat(index)}^`);
  };
  const unexpected = (wanted) => {
    const found = kind === "end" ? "the end" : `"${token}"`, meant = Object.hasOwn(data.meant, token) ? `; write ${data.meant[token]}` : "";
    fail(wanted ? `${wanted}, found ${found}${meant}` : `${found} does not fit here${meant}`);
  };
  function advance() {
    TOKEN.lastIndex = next;
    const found = TOKEN.exec(text);
    if (!found) fail("a character that no formula has", next + text.slice(next).search(/[^ ]/));
    [kind, token] = Object.entries(found.groups).find(([, value]) => value !== undefined);
    next = TOKEN.lastIndex;
    position = next - token.length;
  }
  const is = (sign) => kind === "sign" && token === sign;
  const accept = (sign) => is(sign) && (advance(), true);
  const expect = (sign, wanted = `expected "${sign}"`) => accept(sign) || unexpected(wanted);
  function number(rule) {
    const start = position, [value, comparison] = rule();
    if (comparison) fail(ALONE, start);
    return value;
  }
  function deeper(rule, index) {
    if (++nesting > data.nesting) fail("nested too deeply", index);
    const result = rule();
    --nesting;
    return result;
  }
  function push(values, index) {  // what a step of formula.py's program adds to its stack
    if ((stack += values) > data.stack) fail("nested too deeply", index);
  }
  function choice() {
    const start = position, [value, isComparison] = comparison(), index = position;
    if (!accept("?")) return [value, isComparison];
    if (!isComparison) fail("a choice needs a comparison before its ?, as in p > 0.5 ? 1 : 0", start);
    const yes = deeper(() => number(choice), index);
    expect(":");
    const no = deeper(() => number(choice), index);
    push(-2, index);
    return [(scope) => (value(scope) ? yes(scope) : no(scope)), false];
  }
  function comparison() {
    const start = position, [left, isComparison] = sum();
    if (kind !== "sign" || !COMPARISONS.includes(token)) return [left, isComparison];
    if (isComparison) fail(ALONE, start);
    const operation = OPERATIONS[token];
    advance();
    const right = number(sum);
    push(-1, start);
    return [(scope) => operation(left(scope), right(scope)), true];
  }
  function chain(signs, rule) {
    const start = position;
    let [left, isComparison] = rule();
    while (kind === "sign" && signs.includes(token)) {
      if (isComparison) fail(ALONE, start);
      const operation = OPERATIONS[token], before = left;
      advance();
      const right = number(rule);
      push(-1, start);
      left = (scope) => scope.round(operation(before(scope), right(scope)));
    }
    return [left, isComparison];
  }
  const sum = () => chain("+-", product);
  const product = () => chain("*/", signed);
  function signed() {
    const index = position;
    if (!accept("-")) return primary();
    const value = deeper(() => number(signed), index);
    return [(scope) => -value(scope), false];
  }
  function primary() {
    const index = position, what = token;
    if (kind === "number") {
      const value = Number(what);
      if (value > 3.4028234663852886e38) fail("too large a number", index);
      advance();
      push(1, index);
      return [(scope) => scope.round(value), false];
    }
    if (kind === "name") return [named(what, index), false];
    if (accept("(")) {
      const inner = deeper(choice, index);
      expect(")");
      return inner;
    }
    return unexpected("expected a number, a name or (");
  }
  function named(name, index) {
    advance();
    if (Object.hasOwn(data.functions, name)) {
      expect("(", `expected "(" after ${name}`);
      const operands = [];
      for (let i = 0; i < data.functions[name]; ++i) {
        if (i) expect(",", `expected ",": ${name} takes 2 arguments`);
        operands.push(deeper(() => number(choice), index));
      }
      expect(")");
      push(1 - operands.length, index);
      return (scope) => scope.round(Math[name](...operands.map((operand) => operand(scope))));
    }
    const known = ["p", ...names];
    if (known.includes(name)) {
      push(1, index);
      return (scope) => scope.round(scope[name]);
    }
    const meant = Object.hasOwn(data.meant, name) ? `; write ${data.meant[name]}` : "";
    return fail(`unknown name "${name}" (there are ${[...known, ...Object.keys(data.functions)].join(", ")})${meant}`, index);
  }
  if (text.length > data.most) fail(`longer than ${data.most} characters`, data.most);
  advance();
  const value = number(choice);
  if (kind !== "end") unexpected(kind !== "sign" || token === "(" ? "expected an operator" : "");
  return value;
}

// Throws an error unless c(p) and the emphasis, which `both` computes, are finite and at least 0 on (0, 1), and not 0 everywhere.
function check(both, kind) {
  const names = { c: "c(p)", emphasis: "the emphasis" }, shown = (value) => String(Number(value.toPrecision(6)));
  const values = data.checked.map((p) => both(p)), narrow = data.checked.map((p) => both(p, Math.fround));
  for (const name of kind === "emphasis" ? ["emphasis", "c"] : ["c", "emphasis"]) {
    const largest = Math.max(0, ...narrow.map((point) => point[name]).filter(Number.isFinite));
    values.forEach((point, i) => {
      const value = point[name];
      if (value >= -1e-9 * largest && Number.isFinite(narrow[i][name])) return;
      const what = Number.isNaN(value) ? "not a number" : value < 0 && value > -Infinity ? `negative, ${shown(value)},` : "too large for single precision";
      throw new Error(`${names[name]} is ${what} at p = ${shown(point.p)}; it must be finite and at least 0 on (0, 1)`);
    });
    if (!largest) throw new Error(`${names[name]} is 0 on all of (0, 1), so that no example counts`);
  }
}

// The emphasis density, c(p) and psi of a formula for c(p) or for the emphasis.
function curve(text, kind, given) {
  const value = compile(text, Object.keys(given)), points = [];
  const both = (p, round = (x) => x) => {
    const found = value({ ...given, p, round });
    return kind === "emphasis" ? { p, c: round(found / (2 - 2 * p + 1e-6)), emphasis: found } : { p, c: found, emphasis: round(2 * found * (1 - p)) };
  };
  check(both, kind);
  for (let i = 0; i < POINTS; ++i) points.push(both((i + 0.5) / POINTS));
  const mean = points.reduce((sum, point) => sum + point.emphasis, 0) / POINTS;
  points.forEach((point) => { point.density = point.emphasis / mean; });
  const top = points.reduce((best, point) => (point.emphasis > best.emphasis ? point : best));
  const edge = both(1e-9);
  return { points, psi: edge.emphasis >= top.emphasis ? 0 : top.p, largest: Math.max(top.emphasis, edge.emphasis), untrained: both(0.01).emphasis };
}

const of = (row, given) => (row === custom
  ? Object.entries(given)[0].reverse() : row.emphasis ? [row.emphasis, "emphasis"] : [row.formula, "formula"]);

// ---- the weighting being tried out

const kind = () => document.querySelector("input[name=kind]:checked").value;
const row = () => rows.get(at("weighting").value);
const inputs = () => [...document.querySelectorAll("#parameters input[type=number]")];
const given = () => Object.fromEntries(inputs().map((input) => [input.name, input.valueAsNumber]));

function showParameters() {
  at("parameters").replaceChildren(...row().parameters.map((parameter) => {
    const group = document.createElement("fieldset"), legend = document.createElement("legend");
    group.className = "parameter";
    legend.textContent = `${parameter.name}: ${parameter.meaning}`;
    const small = (end, other) => (parameter.ends || end === null ? end ?? other : end === parameter.least ? end + 0.01 : end - 0.01);
    const span = Math.max(10, 2 * parameter.default);
    const [slider, box] = ["range", "number"].map((type) => {
      const input = document.createElement("input");
      Object.assign(input, { type, step: parameter.whole ? 1 : type === "range" ? 0.01 : "any", name: type === "number" ? parameter.name : "" });
      const low = small(parameter.least, type === "range" ? -span : null), high = small(parameter.most, type === "range" ? span : null);
      if (low !== null) input.min = type === "number" ? parameter.least : low;
      if (high !== null) input.max = type === "number" ? parameter.most : high;
      input.value = parameter.default;
      input.setAttribute("aria-label", type === "range" ? `${parameter.name}, slider` : parameter.name);
      return input;
    });
    slider.addEventListener("input", () => { box.value = slider.value; draw(); });
    box.addEventListener("input", () => { slider.value = box.value; draw(); });
    group.append(legend, slider, box);
    return group;
  }));
}

function choose() {
  const chosen = row(), [text, what] = chosen === custom ? [at("formula").value, kind()] : of(chosen, {});
  at("formula").value = text;
  document.querySelector(`input[name=kind][value=${what}]`).checked = true;
  at("twin").disabled = !chosen.twin;
  if (!chosen.twin) at("twin").checked = false;
  showParameters();
  draw();
}

// Turns a row's formula into the reader's own, with numbers in place of its parameters.
function own() {
  if (row() !== custom) {
    const numbers = given();
    const before = document.activeElement === at("formula") ? at("formula").selectionStart : null;
    at("formula").value = at("formula").value.replace(/(?<![\w.])[A-Za-z_]\w*/g, (name) =>
      (name in numbers ? (numbers[name] < 0 ? `(${numbers[name]})` : `${numbers[name]}`) : name));
    if (before !== null) at("formula").setSelectionRange(before, before);
    at("weighting").value = data.custom;
    at("twin").disabled = false;
    showParameters();
  }
  draw();
}

// ---- drawing

const options = { mode: "vega", renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: false, logLevel: 1 };
const behind = data.settings.flatMap(({ name, row: of_, given: numbers }) => {
  const [text, what] = of(rows.get(of_), numbers);
  return curve(text, what, rows.get(of_) === custom ? {} : numbers).points.filter((_, i) => i % 8 === 4).map((point) => ({ ...point, name }));
});
const views = ["density", "c"].map((name) => {
  const specification = structuredClone(data.charts[name]);
  const highest = name === "c" ? behind.filter(({ p }) => p < 0.97) : behind;
  specification.data.find((set) => set.name === "curves").values = name === "c" ? highest : behind;
  specification.data.find((set) => set.name === "tried").values = [];
  return vegaEmbed(at(name), specification, options).then(({ view }) => {
    at(name).querySelector("svg").setAttribute("aria-hidden", "true");
    return view;
  });
});

const shown = (value) => (value === 0 ? "0" : Math.abs(value) >= 0.01 && Math.abs(value) < 1e4 ? String(Number(value.toPrecision(4))) : value.toExponential(2));

async function draw() {
  const chosen = row(), numbers = given(), what = kind(), text = at("formula").value.trim();
  at("sentence").textContent = `${chosen.sentence} Source: ${chosen.source}.`;
  let found;
  try {
    const wrong = chosen.parameters.find((parameter) => {
      const value = numbers[parameter.name], ends = [parameter.least, parameter.most];
      return !(Number.isFinite(value) && (ends[0] === null || value >= ends[0]) && (ends[1] === null || value <= ends[1])
        && (parameter.ends || !ends.includes(value)) && (!parameter.whole || Number.isInteger(value)));
    });
    if (wrong) throw new Error(`${wrong.name} must be ${wrong.range}`);
    found = curve(text, what, numbers);
    at("mistake").textContent = "";
  } catch (error) {
    at("mistake").textContent = error.message;
  }
  at("formula").setAttribute("aria-invalid", String(!found));
  at("psi").value = found ? shown(Number(found.psi.toFixed(3))) : "-";
  at("untrained").value = found ? shown(found.untrained) : "-";
  at("largest").value = found ? shown(found.largest) : "-";
  const name = chosen.name + (at("twin").checked ? "_DN" : "");
  const fields = chosen === custom ? [[what, JSON.stringify(text)]] : chosen.parameters.map((one) => [one.field, numbers[one.name]]);
  const set = chosen.parameters.map((one) => `${one.name}=${numbers[one.name]}`).join(",");
  at("prototxt").value = found ? `loss_param { ${[["weighting", name], ...fields].map((pair) => pair.join(": ")).join(" ")} }` : "";
  at("command").value = found ? `python -m solvers.train prototxt/res44_mae --weighting ${name}${chosen === custom ? ` --${what} "${text}"` : set && ` --set ${set}`}` : "";
  const points = found ? found.points.filter((_, i) => i % 4 === 2) : [];
  const [density, c] = await Promise.all(views);
  await density.data("tried", points).runAsync();
  await c.data("tried", points.filter(({ p }) => p < 0.97)).runAsync();
  document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn ?? 0) + 1);
}

at("weighting").addEventListener("change", choose);
at("formula").addEventListener("input", own);
document.querySelectorAll("input[name=kind]").forEach((radio) => radio.addEventListener("change", own));
at("twin").addEventListener("change", draw);
document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", async () => {
  const text = at(button.dataset.from);
  text.select();
  try {
    await navigator.clipboard.writeText(text.value);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected: copy it with your keyboard";
  }
}));
window.tried = () => { const [text, what] = [at("formula").value.trim(), kind()]; return curve(text, what, given()); };  // for tests
choose();
