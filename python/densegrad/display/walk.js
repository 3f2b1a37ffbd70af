(function () {
  "use strict";
  var root = document.documentElement;
  var steps = Array.prototype.slice.call(document.querySelectorAll(".step"));
  var parts = Array.prototype.slice.call(document.querySelectorAll("[data-part]"));
  var views = Array.prototype.slice.call(document.querySelectorAll(".view"));
  var previous = document.getElementById("previous");
  var next = document.getElementById("next");
  var chooser = document.getElementById("chooser");
  var status = document.getElementById("status");
  var picture = document.querySelector(".picture");
  var current = 0;

  function show(number, silent) {
    current = Math.max(0, Math.min(steps.length - 1, number));
    steps.forEach(function (step, i) { step.classList.toggle("current", i === current); });
    var on = (steps[current].dataset.on || "").split(" ");
    parts.forEach(function (part) {
      part.classList.toggle("on", on[0] === "all" || on.indexOf(part.dataset.part) >= 0);
    });
    previous.disabled = current === 0;
    next.disabled = current === steps.length - 1;
    chooser.selectedIndex = current;
    var heading = steps[current].querySelector("h2").textContent;
    if (!silent) { status.textContent = "Step " + (current + 1) + " of " + steps.length + ": " + heading; }
    var first = picture.querySelector("[data-part='" + on[0] + "']");
    if (first) {
      var box = first.getBoundingClientRect(), frame = picture.getBoundingClientRect();
      picture.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
    }
    reachByKeys();
    if (location.protocol !== "about:") { history.replaceState(null, "", "#walk-" + (current + 1)); }
  }

  // What is too wide for the window scrolls, and by the keyboard when it can be reached.
  function reachByKeys() {
    document.querySelectorAll(".table, .formula, .picture").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth + 1) { box.tabIndex = 0; } else { box.removeAttribute("tabindex"); }
    });
  }

  function look(view) {
    views.forEach(function (part) { part.classList.toggle("current", part.dataset.view === view); });
    reachByKeys();
  }

  function fromAddress() {
    // Not the step's own id: the browser would scroll down to it, past the picture.
    return (Number(location.hash.replace(/^#(walk|step)-/, "")) || 1) - 1;
  }

  root.classList.add("js");
  previous.addEventListener("click", function () { show(current - 1); });
  next.addEventListener("click", function () { show(current + 1); });
  chooser.addEventListener("change", function () { show(chooser.selectedIndex); });
  document.querySelectorAll("input[name=view]").forEach(function (input) {
    input.addEventListener("change", function () { look(input.value); });
    if (input.checked) { look(input.value); }
  });
  document.querySelectorAll("a[data-step]").forEach(function (link) {
    link.addEventListener("click", function (event) {
      event.preventDefault();
      show(Number(link.dataset.step));
    });
  });
  document.addEventListener("keydown", function (event) {
    var keys = { ArrowLeft: current - 1, ArrowRight: current + 1, Home: 0, End: steps.length - 1 };
    var busy = event.target.closest("input, select, .table, .formula, .picture");
    if (busy || event.altKey || event.ctrlKey || event.metaKey || !(event.key in keys)) { return; }
    event.preventDefault();
    show(keys[event.key]);
  });
  window.addEventListener("resize", reachByKeys);
  window.addEventListener("hashchange", function () { show(fromAddress()); });
  show(fromAddress(), true);
})();
