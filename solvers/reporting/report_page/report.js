// The page's behaviour: choose, sort and filter tables; draw the charts; copy text.
const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
document.documentElement.classList.add("scripted");

// ---- tables

const tables = all(".table-of");
function choose(measure) {
  tables.forEach((table) => { table.hidden = table.dataset.measure !== measure; });
}
all("input[name=measure]").forEach((radio) => radio.addEventListener("change", () => choose(radio.value)));
choose(all("input[name=measure]").find((radio) => radio.checked).value);  // a reload may keep what was chosen

// Sort by number, or the first column by text. Cells without a value come last in both directions.
function sortBy(table, column, ascending) {
  const key = (row) => {
    const cell = row.cells[column];
    return column ? Number.parseFloat(cell.dataset.value) : cell.textContent;
  };
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (column && (Number.isNaN(x) || Number.isNaN(y))) return Number.isNaN(x) - Number.isNaN(y);
    return (column ? x - y : x.localeCompare(y)) * (ascending ? 1 : -1);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}
all(".results").forEach((table) => all(".sort", table).forEach((button) => button.addEventListener("click", () => {
  const head = button.closest("th"), column = Number(button.dataset.column);
  const before = head.getAttribute("aria-sort");
  const ascending = before === "none" ? column === 0 : before === "descending";  // numbers start with the largest
  all("[aria-sort]", table).forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  sortBy(table, column, ascending);
})));

const filter = document.getElementById("filter");
function applyFilter() {
  const wanted = filter.value.trim().toLowerCase();
  let found = 0;
  all(".results tbody tr").forEach((row) => {
    row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    found += !row.hidden;
  });
  document.getElementById("found").textContent = wanted ? `${found / tables.length} of ${data.rows.length} weightings` : "";
}
filter.addEventListener("input", applyFilter);
applyFilter();

all(".copy").forEach((button) => button.addEventListener("click", async () => {
  const text = document.getElementById(button.dataset.from);
  text.select();
  try {
    await navigator.clipboard.writeText(text.value);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Selected: copy it with your keyboard";
  }
}));

// ---- charts

const boxes = { rows: all("#rows input"), noises: all("#noises input"), seeds: all("#seeds input") };
const chosen = (kind) => new Set(boxes[kind].filter((box) => box.checked).map((box) => Number(box.value)));
// A function that says whether a run is chosen, or a released run, which has no seed. With one seed only, there is no choice of it.
function selection() {
  const rows = chosen("rows"), noises = chosen("noises"), seeds = chosen("seeds");
  const ofSeed = (run) => !boxes.seeds.length || run.seed === undefined || seeds.has(run.seed);
  return (run) => rows.has(run.row) && noises.has(run.noise) && ofSeed(run);
}
if (!boxes.rows.some((box) => box.checked)) boxes.rows.slice(0, data.shown).forEach((box) => { box.checked = true; });

const every = (list) => Math.max(1, Math.ceil(list.length / 6));  // distance between marks on a curve: about six marks
const points = (series, x, y, name, more = {}) => x.flatMap((at, i) => y[i] === null ? [] : [{
  row: series.row, run: series.name, iteration: at, [name]: y[i], marked: i % every(x) === every(x) - 1, ...more }]);
const withDynamics = (runs) => runs.filter((run) => run.dynamics);

// The data of each chart for the runs of one noise rate, by the names in its specification.
const drawn = {
  accuracy: (runs, released) => ({
    ours: runs.flatMap((run) => points(run, run.iterations, run.accuracies, "accuracy")),
    released: released.flatMap((run) => points(run, run.iterations, run.accuracies, "accuracy")),
    drops: [...new Set(runs.flatMap((run) => run.drops))].map((iteration) => ({ iteration })),
  }),
  probability: (runs) => ({
    dynamics: withDynamics(runs).flatMap((run) => [
      ...points(run, run.dynamics.iterations, run.dynamics.clean_p, "value", { kind: "clean" }),
      ...points(run, run.dynamics.iterations, run.dynamics.noisy_p, "value", { kind: "noisy" })]),
    level: [],
  }),
  share: (runs) => ({
    dynamics: withDynamics(runs).flatMap((run) => points(run, run.dynamics.iterations, run.dynamics.noisy_share, "value", { kind: "clean" })),
    level: [...new Set(withDynamics(runs).map((run) => run.dynamics.noisy))].map((value) => ({ value })),
  }),
};
// Curves of one row have the same colour and marks. So what the row's name lacks, such as beta 6, stands at the curve's highest point.
const lackingIn = (row, name) => name.startsWith(`${row}, `) ? name.slice(row.length + 2) : "";
const emphasisOf = (rows) => data.emphasis.filter((one) => rows.has(one.row)).flatMap((one) => one.density.map((density, i) => ({
  row: one.row, loss: one.name, p: i / 100, density, marked: i % 20 === 10,
  label: i === one.density.indexOf(Math.max(...one.density)) ? lackingIn(data.rows[one.row], one.name) : "" })));

const titles = { accuracy: "Test accuracy", probability: "Mean p", share: "Noisy examples' share of the gradient", emphasis: "Emphasis" };
// ast: interpret expressions, since the page's policy forbids to compile them. logLevel: only errors, since data may be empty.
const options = {
  mode: "vega", renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true }, logLevel: 1,
};
const views = new Map();  // by chart and noise rate
function make(chart, noise, content) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption"), place = document.createElement("div");
  caption.textContent = noise === "" ? "" : `noise ${data.noises[noise]}`;
  place.className = "chart";
  figure.append(caption, place);
  document.querySelector(`[data-chart=${chart}]`).append(figure);
  const specification = structuredClone(data.charts[chart]);
  specification.data.filter(({ name }) => name in content).forEach((set) => { set.values = content[set.name]; });
  const ready = vegaEmbed(place, specification, options).then((made) => {
    place.setAttribute("role", "img");  // its label describes the chart, and a table has the values
    place.querySelector("svg").setAttribute("aria-hidden", "true");
    return made.view;
  });
  return { figure, place, ready };
}
async function show(chart, noise, content, names) {
  const key = `${chart} ${noise}`, empty = Object.values(content).every((rows) => !rows.length);
  const before = views.get(key);
  if (before) before.figure.hidden = empty;
  if (empty) return;
  if (!before) views.set(key, make(chart, noise, content));
  const { place, ready } = views.get(key);
  const made = await ready;  // Vega replaces role and label while it makes the chart
  place.setAttribute("aria-label", `${titles[chart]}${noise === "" ? "" : `, noise ${data.noises[noise]}`}: ${names.join("; ")}. The values are in the table below the charts.`);
  if (!before) return;
  Object.entries(content).forEach(([name, rows]) => made.data(name, rows));
  await made.resize().runAsync();
}
async function draw() {
  const rows = chosen("rows"), here = selection();
  const names = [...rows].map((row) => data.rows[row]);
  const shows = [show("emphasis", "", { emphasis: emphasisOf(rows) }, names)];
  for (const chart of ["accuracy", "probability", "share"]) {
    data.noises.forEach((_, noise) => {
      const of = (list) => list.filter((one) => one.noise === noise && here(one));
      const runs = of(data.runs);
      shows.push(show(chart, noise, drawn[chart](runs, runs.length ? of(data.released) : []), names));
    });
  }
  all(".values[open]").forEach(fillValues);
  await Promise.all(shows);
  document.documentElement.dataset.drawn = "yes";
}
Object.values(boxes).flat().forEach((box) => box.addEventListener("change", draw));
all("[data-all], [data-none]").forEach((button) => button.addEventListener("click", () => {
  boxes.rows.forEach((box) => { box.checked = "all" in button.dataset; });
  draw();
}));

// ---- the charts' values as tables, for those who cannot see the charts or want the numbers

const valueTables = {
  accuracy: (runs, released) => columns("iteration", [...runs, ...released].map((run) => [run.name, run.iterations, run.accuracies])),
  probability: (runs) => columns("iteration", withDynamics(runs).flatMap(({ name, dynamics }) => [
    [`${name}: clean`, dynamics.iterations, dynamics.clean_p], [`${name}: noisy`, dynamics.iterations, dynamics.noisy_p]])),
  share: (runs) => columns("iteration", withDynamics(runs).map(({ name, dynamics }) => [name, dynamics.iterations, dynamics.noisy_share])),
  emphasis: () => columns("p", data.emphasis.filter((one) => chosen("rows").has(one.row)).map((one) => [
    one.name, one.density.map((_, i) => i / 100), one.density])),
};
function columns(first, series) {
  const at = [...new Set(series.flatMap(([, x]) => x))].sort((a, b) => a - b);
  const known = series.map(([, x, y]) => new Map(x.map((value, i) => [value, y[i]])));
  return [[first, ...series.map(([name]) => name)], ...at.map((value) => [value, ...known.map((one) => one.get(value) ?? "")])];
}
function fillValues(details) {
  const here = selection();
  const [head, ...body] = valueTables[details.dataset.values](data.runs.filter(here), data.released.filter(here));
  const table = document.createElement("table"), scroll = document.createElement("div");
  const line = (parent, cells, kinds) => {
    const row = parent.insertRow();
    cells.forEach((text, i) => {
      const cell = document.createElement(kinds(i));
      if (kinds(i) === "th") cell.scope = parent === table.tHead ? "col" : "row";
      cell.textContent = text;
      row.append(cell);
    });
  };
  table.createTHead();
  line(table.tHead, head, () => "th");
  const list = table.createTBody();
  body.forEach((cells) => line(list, cells, (i) => i ? "td" : "th"));
  scroll.className = "scroll";
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `Values: ${titles[details.dataset.values]}`);
  scroll.append(table);
  details.querySelector(".scroll")?.remove();
  details.append(scroll);
}
all(".values").forEach((details) => details.addEventListener("toggle", () => { if (details.open) fillValues(details); }));

draw();
