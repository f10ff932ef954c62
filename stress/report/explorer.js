// Slices through the grid. Every number was worded when the report was written; this only chooses what to show.
"use strict";
{
  const root = document.getElementById("explorer");
  const data = JSON.parse(document.getElementById("explorer-data").textContent);
  const { axes, views, palette, marks } = data;
  const at = axes.map((axis) => axis.at);
  let rows = data.rows, columns = data.columns, focus = null;

  const make = (tag, attributes = {}, ...inside) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...inside);
    return node;
  };
  const choice = (words, options, chosen, change) => {
    const select = make("select", {}, ...options.map(([value, text]) => make("option", { value }, text)));
    select.value = chosen;
    select.addEventListener("change", () => change(select.value));
    return [make("label", {}, `${words} `, select), select];
  };

  const measures = [...new Set(views.map((view) => view.measure))];
  let measure = views[data.view].measure, place = views[data.view].place;
  const placesOf = (words) => views.filter((view) => view.measure === words).map((view) => view.place);
  const wide = axes.map((axis, i) => [i, axis.label]).filter(([i]) => axes[i].values.length > 1);

  const placeBox = make("span");
  const readout = make("output", { class: "readout", "aria-live": "polite" });
  const sliders = make("div", { class: "sliders" });
  const frame = make("div", { class: "scroll", role: "region", "aria-label": "Slice of the grid", tabindex: "0" });
  const [measureBox] = choice("Measure", measures.map((m) => [m, m]), measure, (value) => {
    measure = value;
    if (!placesOf(measure).includes(place)) place = placesOf(measure)[0];
    draw();
  });
  // An axis cannot be rows and columns at once: choosing it for one gives its old place to the other.
  const [rowsBox, rowsSelect] = choice("Rows", wide, rows, (value) => {
    if (+value === columns) columns = rows;
    rows = +value;
    draw();
  });
  const [columnsBox, columnsSelect] = choice("Columns", wide, columns, (value) => {
    if (+value === rows) rows = columns;
    columns = +value;
    draw();
  });
  const chosen = make("div", { class: "choices" }, measureBox, placeBox, rowsBox, columnsBox);
  root.append(chosen, sliders, frame, readout);

  const entry = (view, index) => view.entries[view.cells[index.reduce((flat, i, k) => flat * axes[k].values.length + i, 0)]];
  const marksOf = (index) =>
    marks.filter(([, ...where]) => where.every((i, k) => i === null || i === index[k])).map(([mark]) => mark).join("");

  function drawSliders() {
    sliders.replaceChildren(
      ...wide.filter(([i]) => i !== rows && i !== columns).map(([i, label]) => {
        const value = make("output", {}, axes[i].values[at[i]]);
        const slider = make("input", {
          type: "range", min: 0, max: axes[i].values.length - 1, step: 1, value: at[i],
          "aria-label": label, "aria-valuetext": axes[i].values[at[i]],
        });
        slider.addEventListener("input", () => {
          at[i] = +slider.value;
          value.textContent = axes[i].values[at[i]];
          slider.setAttribute("aria-valuetext", axes[i].values[at[i]]);
          drawTable();
        });
        return make("label", {}, `${label}: `, value, slider);
      }),
    );
  }

  function drawTable() {
    const view = views.find((one) => one.measure === measure && one.place === place);
    // As in the heat map: the first value at the bottom.
    const down = rows === columns ? [at[rows]] : axes[rows].values.map((_, i) => i).reverse();
    focus ??= [rows === columns ? 0 : down.indexOf(at[rows]), at[columns]];
    const head = make("tr", {}, make("th", { scope: "col" }, rows === columns ? "" : `${axes[rows].label} ↓ ${axes[columns].label} →`),
      ...axes[columns].values.map((value) => make("th", { scope: "col" }, value)));
    const cells = [];
    const body = down.map((y, r) => {
      const line = make("tr", {}, make("th", { scope: "row" }, rows === columns ? "" : axes[rows].values[y]));
      cells.push(axes[columns].values.map((_, x) => {
        const index = [...at];
        if (rows !== columns) index[rows] = y;
        index[columns] = x;
        const [shade, short, full, undecided] = entry(view, index);
        const mark = marksOf(index);
        const where = wide.map(([i, label]) => `${label} ${axes[i].values[index[i]]}`).join(", ");
        const words = `${measure}${place ? `, ${place}` : ""}: ${full}. ${where}.`;
        const cell = make("td", { tabindex: "-1", title: full, "aria-label": `${mark} ${words}`.trim() },
          make("span", {}, `${short}${mark ? ` ${mark}` : ""}`));
        if (undecided) cell.classList.add("undecided");
        if (shade >= 0) {
          cell.style.backgroundColor = palette[shade][0];
          cell.style.color = palette[shade][1];
          cell.firstChild.style.backgroundColor = palette[shade][0];  // keeps the number legible on hatching
        }
        const say = () => { readout.textContent = words; };
        cell.addEventListener("mouseenter", say);
        cell.addEventListener("focus", () => { say(); focus = [r, x]; });
        cell.addEventListener("click", () => cell.focus());
        line.append(cell);
        return cell;
      }));
      return line;
    });
    frame.replaceChildren(make("table", { "aria-label": `${measure}${place ? `, ${place}` : ""}` }, make("thead", {}, head), make("tbody", {}, ...body)));
    focus = [Math.min(focus[0], cells.length - 1), Math.min(focus[1], cells[0].length - 1)];
    cells[focus[0]][focus[1]].tabIndex = 0;
    frame.onkeydown = (event) => {
      const [dr, dc] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
      const next = cells[focus[0] + dr]?.[focus[1] + dc];
      if (dr === undefined || !next) return;
      event.preventDefault();
      cells.flat().forEach((cell) => { cell.tabIndex = -1; });
      next.tabIndex = 0;
      next.focus();
    };
    readout.textContent = cells[focus[0]][focus[1]].getAttribute("aria-label");
  }

  function draw() {
    const places = placesOf(measure);
    placeBox.replaceChildren(...(places.length > 1 ? [choice("Market", places.map((p) => [p, p]), place, (value) => { place = value; drawTable(); })[0]] : []));
    rowsSelect.value = rows;
    columnsSelect.value = columns;
    drawSliders();
    drawTable();
  }
  rowsBox.hidden = columnsBox.hidden = wide.length < 2;
  draw();
}
