"use strict";
// The script of the report pages: tables of texts, copy buttons, and scrollable tables that the keyboard can reach.

const PAGE_SIZE = 100;
const percent = (fraction) => `${(100 * fraction).toFixed(1)} %`;
const count = (number) => number.toLocaleString("en-US");

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// One row of a table of texts; the macro `text_entry` renders the same without JavaScript.
function entry(row, sources) {
  const text = element("p", { className: "text", dir: "auto" });
  for (const [piece, style, notes] of row.text) {
    text.append(style ? element("mark", { className: style }, piece) : piece);
    notes.forEach((note) => text.append(element("small", {}, note)));
  }
  if (text.textContent.length > 600) {
    text.classList.add("long");
    text.tabIndex = 0;
  }
  const verdict = element("p", { className: "verdict" });
  row.labels.forEach(([label, probability, isWrong], index) => {
    verdict.append(index ? ", " : "", `${sources[index]} `);
    verdict.append(element("b", { className: isWrong ? "wrong" : "", dir: "auto" }, label));
    if (probability !== null) verdict.append(" ", element("span", { className: "keep" }, `(${percent(probability)})`));
  });
  for (const note of [row.note, row.where]) {
    if (note) verdict.append(" ", element("span", { className: "quiet" }, `· ${note}`));
  }
  const node = element("li", {}, text, verdict);
  if (row.similar.length) {
    const examples = row.similar.map(([similarity, label, similarText]) =>
      element("li", {}, element("span", { className: "keep" }, similarity), " ",
        element("b", { dir: "auto" }, label), " ", element("span", { dir: "auto" }, similarText)),
    );
    node.append(element("p", { className: "similar" }, "similar in train:"), element("ul", {}, ...examples));
  }
  return node;
}

const ORDERS = {
  "as listed": () => 0,
  "most confident": (a, b) => (b.confidence ?? -1) - (a.confidence ?? -1),
  "least confident": (a, b) => (a.confidence ?? 2) - (b.confidence ?? 2),
  "shortest text": (a, b) => a.plain.length - b.plain.length,
  "position in the file": (a, b) => (a.where ?? "").localeCompare(b.where ?? "", "en", { numeric: true }),
};
const CONFIDENCES = { any: [0, 2], "90 % or more": [0.9, 2], "50 % to 90 %": [0.5, 0.9], "below 50 %": [0, 0.5] };

function select(title, options, onChange) {
  const choices = options.map(([value, name]) => element("option", { value }, name));
  const node = element("select", { onchange: onChange }, ...choices);
  return [node, element("label", {}, element("span", {}, title), node)];
}

// Options of a filter by the names that a function returns for each row, the most frequent first.
function filterOptions(rows, namesOf) {
  const numbers = new Map();
  for (const row of rows) {
    for (const name of new Set(namesOf(row))) numbers.set(name, (numbers.get(name) ?? 0) + 1);
  }
  const sorted = [...numbers].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
  return [["", "any"], ...sorted.map(([name, number]) => [name, `${name} (${count(number)})`])];
}

function textTable(root) {
  const { sources, rows } = JSON.parse(root.querySelector("script").textContent);
  rows.forEach((row) => {
    row.plain = row.text.map(([piece]) => piece).join("");
    row.searched = [row.plain, ...row.labels.map(([label]) => label), row.where].join("\n").toLowerCase();
  });
  const list = root.querySelector("ol");
  const controls = root.querySelector(".controls");
  let page = 0;
  const restart = () => {
    page = 0;
    show();
  };
  const search = element("input", { type: "search", oninput: restart });
  controls.append(element("label", {}, element("span", {}, "search"), search));
  const filters = rows.some((row) => row.groups.length)
    ? sources.map((source, index) =>
        select(source, filterOptions(rows, (row) => row.groups.map((group) => group[index])), restart),
      )
    : [];
  const hasCategories = rows.some((row) => row.categories.length);
  const [category, categoryLabel] = select("records", filterOptions(rows, (row) => row.categories), restart);
  const hasConfidence = rows.some((row) => row.confidence !== null);
  const names = (object) => Object.keys(object).map((name) => [name, name]);
  const [confidence, confidenceLabel] = select("confidence", names(CONFIDENCES), restart);
  const orders = names(ORDERS).filter(([name]) => hasConfidence || !name.includes("confident"));
  const [order, orderLabel] = select("order", orders, restart);
  controls.append(...(hasCategories ? [categoryLabel] : []), ...filters.map(([, label]) => label));
  controls.append(...(hasConfidence ? [confidenceLabel] : []), orderLabel);
  const status = element("p", { className: "quiet" });
  status.setAttribute("role", "status");
  const turn = (pages) => () => {
    page += pages;
    show();
    controls.scrollIntoView();
  };
  const previous = element("button", { type: "button", onclick: turn(-1) }, "previous");
  const next = element("button", { type: "button", onclick: turn(1) }, "next");
  const pager = element("p", { className: "pager" }, previous, next);
  controls.after(status);
  list.after(pager);

  function matches(row) {
    const [low, high] = CONFIDENCES[confidence.value];
    const chosen = filters.map(([node]) => node.value);
    return (
      row.searched.includes(search.value.toLowerCase()) &&
      (!category.value || row.categories.includes(category.value)) &&
      (row.confidence === null ? confidence.value === "any" : low <= row.confidence && row.confidence < high) &&
      (chosen.every((label) => !label) ||
        row.groups.some((group) => chosen.every((label, index) => !label || group[index] === label)))
    );
  }

  function show() {
    const matching = rows.filter(matches).sort(ORDERS[order.value]);
    const first = page * PAGE_SIZE;
    const shown = matching.slice(first, first + PAGE_SIZE);
    list.replaceChildren(...shown.map((row) => entry(row, sources)));
    list.start = first + 1;
    const range = matching.length > PAGE_SIZE ? `, ${count(first + 1)} to ${count(first + shown.length)} shown` : "";
    status.textContent = `${count(matching.length)} of ${count(rows.length)} texts${range}`;
    pager.hidden = matching.length <= PAGE_SIZE;
    previous.disabled = page === 0;
    next.disabled = first + PAGE_SIZE >= matching.length;
  }

  // Links such as #mistakes?true=refund&predicted=fee show the rows with these labels.
  function followLink() {
    const [section, query] = location.hash.slice(1).split(/\?(.*)/s);
    if (query === undefined || root.closest("section")?.id !== section) return;
    const labels = new URLSearchParams(query);
    search.value = "";
    confidence.value = "any";
    category.value = "";
    filters.forEach(([node], index) => {
      node.value = labels.get(sources[index]) ?? "";
    });
    restart();
    root.closest("section").scrollIntoView();
  }

  controls.hidden = false;
  show();
  followLink();
  addEventListener("hashchange", followLink);
}

function addCopyButton(block) {
  const button = element("button", { type: "button", className: "copy" }, "copy");
  button.onclick = async () => {
    const text = block.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Browsers may refuse the clipboard to local files.
      getSelection().selectAllChildren(block);
      document.execCommand("copy");
    }
    button.textContent = "copied";
  };
  block.before(button);
}

document.querySelectorAll(".texts").forEach(textTable);
document.querySelectorAll("pre").forEach(addCopyButton);
document.querySelectorAll(".scroll").forEach((node) => {
  if (node.scrollWidth > node.clientWidth) node.tabIndex = 0;
});
