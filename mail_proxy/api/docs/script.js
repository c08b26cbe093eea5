"use strict";
for (const place of document.querySelectorAll(".origin")) {
  place.textContent = location.href.replace(/\/docs\b.*$/, "");
}
const filter = document.querySelector("nav input");
filter.hidden = false;
filter.addEventListener("input", () => {
  const wanted = filter.value.trim().toLowerCase();
  for (const entry of document.querySelectorAll("nav li li")) {
    entry.hidden = !entry.textContent.toLowerCase().includes(wanted);
  }
  for (const group of document.querySelectorAll("nav > ul > li")) {
    group.hidden = wanted !== "" && !group.querySelector("li:not([hidden])");
  }
});
